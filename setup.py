"""What pyproject.toml cannot say: in a wheel `encoders`, `app` and the shipped weights live inside `anitalker`.

In the checkout they stay top-level folders. A wheel takes no other name in site-packages than `anitalker`, so the
build moves them, and the library's `from encoders...` becomes `from anitalker.encoders...`.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

MOVED = ("app", "encoders")
ENCODERS_IMPORT = re.compile(r"^(\s*)(from|import) encoders\b", re.MULTILINE)


class BuildPackage(build_py):
    """Build the packages of the checkout, then lay them out as the wheel has them."""

    def run(self) -> None:
        """Build; an editable install uses the checkout as it is."""
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left must not be shipped
        super().run()
        library = Path(self.build_lib) / "anitalker"
        for package in MOVED:
            shutil.move(library.parent / package, library / package)
        for module in library.rglob("*.py"):
            text = module.read_text(encoding="utf-8")
            module.write_text(ENCODERS_IMPORT.sub(r"\1\2 anitalker.encoders", text), encoding="utf-8")
        weights = library / "checkpoints"
        weights.mkdir(exist_ok=True)
        for file in [*Path("checkpoints").glob("*.safetensors"), Path("checkpoints/README.md")]:
            shutil.copy2(file, weights)


class WriteMetadata(egg_info):
    """Metadata whose top_level.txt names what a wheel has."""

    def run(self) -> None:
        """Write the metadata."""
        super().run()
        (Path(self.egg_info) / "top_level.txt").write_text("anitalker\n", encoding="utf-8")


setup(cmdclass={"build_py": BuildPackage, "egg_info": WriteMetadata})
