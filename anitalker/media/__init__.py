"""Read and write pictures, sound and video files."""
