"""Networks of the original AniTalker and the files that hold them."""
