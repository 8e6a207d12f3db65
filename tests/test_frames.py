"""Images to frames, and the store that keeps them."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from sffshards.base.errors import ConflictError, DamageError, FormatError, ImageError
from sffshards.base.progress import SILENT
from sffshards.base.worker_pool import WorkerPool
from sffshards.images.frame_store import FrameStore
from sffshards.images.image_files import decode_image, find_images, read_frame, resize_frame
from sffshards.images.store_filling import fill_store
from tests.tiny import draw_image, frame_name, make_data


def encode(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


GREY = draw_image(1, 0)
WHOLE = encode(GREY)


@pytest.mark.parametrize("size", [(500, 250), (163, 105), (1167, 460), (224, 224), (17, 900), (37, 16)])
def test_resizing_is_torchvisions_antialiased_bilinear(size):
    import torch
    from torchvision.transforms.v2 import functional as tv

    image = np.random.default_rng(5).integers(0, 256, size[::-1], np.uint8)
    expected = tv.resize(torch.from_numpy(image)[None].float(), [224, 224], antialias=True)[0].numpy()
    assert np.abs(resize_frame(image) - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an 8-bit grey JPEG, found an empty file"),
        (b"<html>not found</html>", "found bytes that are no image"),
        (WHOLE[:-100], "expected a JPEG that decodes whole, found premature end"),
        (WHOLE[:300], "found a JPEG whose header is truncated"),
        (encode(GREY.convert("RGB")), r"mode L\), found a JPEG of mode RGB"),
        (encode(GREY.convert("CMYK")), r"found a JPEG of mode CMYK"),
        (encode(Image.fromarray(np.zeros((40, 60), np.uint16)), "PNG"), r"found a PNG of mode I;16"),
        (encode(GREY, "PNG"), r"found a PNG of mode L"),
        (encode(Image.new("L", (1, 1))), "expected at least 16 pixels a side .* found 1x1"),
    ],
    ids=["empty", "html", "truncated", "header", "rgb", "cmyk", "16-bit", "png", "1x1"],
)
def test_an_unusable_image_is_refused_in_one_line_that_names_it(data, message):
    with pytest.raises(
        ImageError, match=f"^a\\.jpg: .*{message}.*; replace the image, or build with `skip_bad"
    ) as caught:
        decode_image(data, where="a.jpg")
    assert "\n" not in str(caught.value)


def test_decoding_gives_the_pixels_of_the_file():
    assert (decode_image(WHOLE, where="a.jpg") == np.asarray(Image.open(io.BytesIO(WHOLE)))).all()
    # Bytes after the end marker, as some cameras and servers leave, do no harm.
    assert (decode_image(WHOLE + b"\0\0", where="a.jpg") == decode_image(WHOLE, where="a.jpg")).all()


def test_an_image_file_larger_than_an_image_can_be_is_not_read(tmp_path):
    path = tmp_path / "a.fits.jpg"
    with path.open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(ImageError, match="at most 67108864 bytes, found 42949672960 bytes"):
        read_frame(path)


def test_a_missing_image_says_so(tmp_path):
    with pytest.raises(ImageError, match="expected an 8-bit grey JPEG, found no such file"):
        read_frame(tmp_path / "a.fits.jpg")


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data", harps_per_part=1, frames_per_harp=2)


NAMES = [frame_name(100 * k, n) for k in range(1, 7) for n in range(2)]


def fill(data, folder, *, workers=0, strict=True):
    store = FrameStore(folder)
    images, missing = find_images(data / "magnetogram_jpg", NAMES)
    assert not missing
    with WorkerPool(workers) as pool:
        report = fill_store(store, images, pool=pool, strict=strict, progress=SILENT)
    return store, report


def test_every_image_is_decoded_once_and_kept(data, tmp_path):
    folder = tmp_path / "frames"
    store, report = fill(data, folder, workers=2)
    assert (report.num_decoded, report.num_kept) == (12, 0)
    expected = np.stack([read_frame(data / "magnetogram_jpg" / f"{name}.fits.jpg") for name in NAMES])
    assert (store.read(NAMES) == expected).all()
    again, report = fill(data, folder)
    assert (report.num_decoded, report.num_kept) == (0, 12)
    assert (again.read(NAMES[::-1]) == expected[::-1]).all()


def test_the_array_is_a_plain_numpy_file(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    array = np.load(store.array_path, mmap_mode="r")
    assert (array.shape, array.dtype) == ((12, 224, 224), np.uint8)
    assert (array[store.get(NAMES[3]).row] == store.read([NAMES[3]])[0]).all()


def test_a_changed_image_is_decoded_again(data, tmp_path):
    fill(data, tmp_path / "frames")
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    draw_image(999, 5).save(path)
    os.utime(path, ns=(1, 1))
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (1, 11)
    assert (store.read([NAMES[0]])[0] == read_frame(path)).all()


@pytest.mark.parametrize("damage", ["cut off but ended", "zeros", "random"])
def test_damage_in_the_middle_of_a_jpeg_is_not_passed_over(data, damage):
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    whole = path.read_bytes()
    third = len(whole) // 3
    spoilt = {
        "cut off but ended": whole[: 2 * third] + b"\xff\xd9",
        "zeros": whole[: 2 * third] + bytes(third - 20) + whole[-20:],
        "random": whole[: 2 * third] + np.random.default_rng(0).bytes(third - 20) + whole[-20:],
    }[damage]
    with pytest.raises(ImageError, match="expected a JPEG that decodes whole"):
        decode_image(spoilt, where="here")


@pytest.mark.parametrize("name", ["frames.csv", "frames.npy"])
def test_a_folder_with_such_a_file_of_another_kind_is_not_written(data, tmp_path, name):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / name).write_text("mine, not a store's")
    with pytest.raises((ConflictError, FormatError), match="name another folder with `out`"):
        fill(data, tmp_path / "frames")
    assert (tmp_path / "frames" / name).read_text() == "mine, not a store's"


@pytest.mark.parametrize("kind", ["dangling", "loop", "folder", "pipe"])
def test_an_image_that_is_no_plain_file_counts_as_missing(data, tmp_path, kind):
    path = data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "absent" if kind == "dangling" else path)
    images, missing = find_images(data / "magnetogram_jpg", NAMES)
    assert [image.name for image in images] == list(NAMES[1:])
    assert list(missing) == [NAMES[0]]


def test_a_copy_of_an_image_is_not_decoded_again(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    for name in NAMES[:5]:
        os.utime(data / "magnetogram_jpg" / f"{name}.fits.jpg", ns=(1, 1))
    for _ in range(2):
        store, report = fill(data, tmp_path / "frames")
        assert (report.num_decoded, report.num_kept) == (0, 12)
    assert (store.read(NAMES) == before).all()
    assert np.load(store.array_path, mmap_mode="r").shape[0] == 12


def test_a_journal_whose_array_is_gone_counts_for_nothing(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    store.array_path.unlink()
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (12, 0)
    assert (store.read(NAMES) == before).all()


def test_a_snapshot_does_not_see_what_is_added_later(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    snapshot, before = store.snapshot(), store.read(NAMES)
    draw_image(999, 5).save(data / "magnetogram_jpg" / f"{NAMES[0]}.fits.jpg")
    changed, _ = fill(data, tmp_path / "frames")
    assert (snapshot.open().read(NAMES) == before).all()
    assert not (changed.read(NAMES) == before).all()


def test_pixels_that_changed_on_the_disk_are_noticed_and_made_anew(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    with store.array_path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\0\xff\0\xff")
    with pytest.raises(DamageError, match=r"frames\.npy, row 11 .*expected pixels with checksum"):
        FrameStore(tmp_path / "frames").read(NAMES)
    store, report = fill(data, tmp_path / "frames")
    assert (report.num_decoded, report.num_kept) == (1, 11)
    assert (store.read(NAMES) == before).all()


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_journal_cut_off_by_a_kill_loses_only_its_last_lines(data, tmp_path, cut):
    store, _ = fill(data, tmp_path / "frames")
    before = store.read(NAMES)
    os.truncate(store.journal_path, store.journal_path.stat().st_size - cut)
    store, report = fill(data, tmp_path / "frames")
    assert report.num_decoded == {1: 1, 40: 1, 200: 2}[cut]
    assert (store.read(NAMES) == before).all()
    assert (FrameStore(tmp_path / "frames").read(NAMES) == before).all()


def test_rows_that_a_kill_left_empty_are_given_out_again(data, tmp_path):
    store = FrameStore(tmp_path / "frames")
    store.grow(500)
    store, _ = fill(data, tmp_path / "frames")
    assert np.load(store.array_path, mmap_mode="r").shape[0] == 12


def test_bad_images_are_reported_or_raised_before_any_is_decoded(data, tmp_path):
    path = data / "magnetogram_jpg" / f"{NAMES[4]}.fits.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"truncated"):
        fill(data, tmp_path / "strict")
    assert not (tmp_path / "strict" / "frames.npy").exists()
    store, report = fill(data, tmp_path / "lenient", strict=False)
    assert list(report.bad) == [NAMES[4]]
    assert report.num_decoded == 11
    assert store.get(NAMES[4]) is None


def test_a_store_of_another_version_is_refused(data, tmp_path):
    store, _ = fill(data, tmp_path / "frames")
    text = store.journal_path.read_text()
    store.journal_path.write_text(text.replace("sffshards-frames,1,", "sffshards-frames,9,"))
    with pytest.raises(FormatError, match=r"frames\.csv: expected the journal of a frame store"):
        FrameStore(tmp_path / "frames")
