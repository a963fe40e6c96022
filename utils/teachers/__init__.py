"""What students are taught: teachers, their stored answers, score files of other frameworks."""
