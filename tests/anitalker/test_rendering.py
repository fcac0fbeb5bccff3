"""Rendering with a model that paints the frame number: order, batches, overlapping faces, large pictures."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker import rendering
from anitalker.config import RenderOptions
from anitalker.decoder import compositor
from anitalker.decoder.compositor import Compositor
from anitalker.decoder.decoder import Layers
from anitalker.faces.crop import Crop
from anitalker.media.video import probe
from anitalker.models import lite
from anitalker.runtime import transfer
from anitalker.runtime.device import Clock


class Painter(lite.Lite):
    """Layers whose synthesised pixels show the first number of the motion code, everywhere."""

    device = torch.device("cpu")

    def __init__(self):
        """No networks."""

    def layers(self, subject, motion):
        count = len(motion)
        masks = torch.zeros(count, 3, 256, 256)
        masks[:, 2] = 1
        pixels = motion[:, :1, None, None].expand(count, 3, 256, 256)
        return Layers(torch.zeros(count, 2, 256, 256), masks, pixels)


def subject_at(x, y, side, size, fused=True):
    """A face in a grey picture."""
    crop = Crop(
        np.zeros((256, 256, 3), np.uint8), np.zeros((468, 3), np.float32), (float(x), float(y)), float(side), size
    )
    prepared = SimpleNamespace(picture=torch.zeros(1, 3, 256, 256))
    compositor = Compositor(np.full((side, side, 3), 100, np.uint8), fused=fused)
    return lite.LiteFace(crop, None, None, prepared, compositor, None)


def levels(count):
    """Motion [count,20] whose first number climbs from -1 to 1."""
    motion = torch.zeros(count, 20)
    motion[:, 0] = torch.linspace(-1, 1, count)
    return motion


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_every_frame_once_and_in_order(batch):
    frames = list(rendering.render(Painter(), [subject_at(0, 0, 64, (64, 64))], [levels(9)], batch, None))
    assert [frame[128, 128, 0] for frame in frames] == [round((v + 1) * 127.5) for v in np.linspace(-1, 1, 9)]


@pytest.mark.parametrize("waiting", [rendering.MAX_BATCH_BYTES, 3 * 64 * 64 * 3])
def test_devices_that_draw_batches_draw_ahead(monkeypatch, waiting):
    """In a thread of its own; large pictures in smaller batches; every frame once and in order."""
    import threading

    class Elsewhere(Painter):
        device, seen = torch.device("mps"), []

        def layers(self, subject, motion):
            self.seen.append((len(motion), threading.current_thread().name))
            return super().layers(subject, motion)

    monkeypatch.setattr(rendering, "MAX_BATCH_BYTES", waiting)
    model, picture = Elsewhere(), np.zeros((64, 64, 3), np.uint8)
    frames = list(rendering.render(model, [subject_at(0, 0, 64, (64, 64), fused=False)], [levels(9)], 4, picture))
    assert [frame[32, 32, 0] for frame in frames] == [round((v + 1) * 127.5) for v in np.linspace(-1, 1, 9)]
    sizes, threads = zip(*model.seen, strict=True)
    assert max(sizes) == min(4, waiting // picture.nbytes) and set(threads) == {"frames_0"}


def test_crops_that_overlap_add_their_changes():
    """Two crops side by side share a strip; in it nobody's change is lost, elsewhere each has its own."""
    picture = np.full((100, 160, 3), 100, np.uint8)
    subjects = [subject_at(0, 0, 100, (100, 160)), subject_at(60, 0, 100, (100, 160))]
    motions = [torch.full((1, 20), 120 / 127.5 - 1), torch.full((1, 20), 90 / 127.5 - 1)]
    frame = next(rendering.render(Painter(), subjects, motions, 1, picture))
    assert frame[50, 30, 0] == 120 and frame[50, 130, 0] == 90 and frame[50, 80, 0] == 110


def test_large_crops_go_in_pieces(monkeypatch):
    monkeypatch.setattr(compositor, "MAX_COMPOSED_PIXELS", 3 * 50 * 50)
    picture = np.zeros((50, 50, 3), np.uint8)
    frames = list(rendering.render(Painter(), [subject_at(0, 0, 50, (50, 50))], [levels(8)], 8, picture))
    assert [frame[25, 25, 0] for frame in frames] == [round((v + 1) * 127.5) for v in np.linspace(-1, 1, 8)]


def test_pixels_come_back_to_the_bit():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(transfer.to_pictures(transfer.to_tensor(picture))[0], picture)


def test_side_by_side_keeps_order_and_stops_early():
    import threading
    import time

    import torch

    from anitalker.rendering import MAX_WAITING_RESULTS, ordered_parallel_map

    begun, threads = [], torch.get_num_threads()

    def work(item):
        begun.append((item, threading.current_thread().name, torch.get_num_threads()))
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(ordered_parallel_map(work, range(20), 3)) == [n * n for n in range(20)]
    assert len({name for _, name, _ in begun}) > 1 and {count for *_, count in begun} == {1}
    begun.clear()
    stream = ordered_parallel_map(work, range(1000), 2)
    assert next(stream) == 0
    stream.close()
    assert len(begun) <= 2 * MAX_WAITING_RESULTS + 2 and torch.get_num_threads() == threads


def test_a_fault_in_a_worker_is_told():
    import pytest

    from anitalker.rendering import ordered_parallel_map

    with pytest.raises(ZeroDivisionError):
        list(ordered_parallel_map(lambda item: 1 // (item - 3), range(9), 2))


def test_rate_codec_and_quality_reach_the_file(tmp_path):
    """And the facts."""
    model = SimpleNamespace(name="painter", fingerprint="ab", device=torch.device("cpu"))
    facts, sizes = {}, {}
    for codec, quality in (("h264", 10), ("hevc", 45)):
        path, noise = tmp_path / f"{codec}.mp4", np.random.default_rng(0)
        frames = (noise.integers(0, 255, (64, 64, 3)).astype(np.uint8) for _ in range(3))
        options = RenderOptions(codec=codec, quality=quality, marks=False)
        rate = Fraction(30000, 1001)
        facts = rendering.write_video(model, frames, (3, 64, 64), path, None, options, Clock(), None, fps=rate)
        assert (facts["codec"], facts["quality"], facts["fps"]) == (codec, quality, 30000 / 1001)
        assert facts["seconds"] == pytest.approx(3 * 1001 / 30000)
        assert (probe(path).video_codec, probe(path).fps) == (codec, 29.97)
        sizes[codec] = path.stat().st_size
    assert sizes["h264"] > 2 * sizes["hevc"]
