"""ACAImage: CCD coordinates, arithmetic by place, meta and centroids."""

import copy
import operator
import pickle

import numpy as np
import pytest
from astropy.io import fits

from acaflow.archive.aca_image import ACAImage
from acaflow.errors import InputError


@pytest.fixture
def image():
    return ACAImage(np.arange(16).reshape(4, 4), row0=10, col0=20)


class TestMaking:
    def test_zeros_of_a_shape_are_float64_at_the_origin(self):
        image = ACAImage(shape=(2, 3))
        assert image.tolist() == [[0, 0, 0], [0, 0, 0]]
        assert image.dtype == np.float64
        assert image.meta == {"IMGROW0": 0, "IMGCOL0": 0}

    def test_dtype_and_nested_lists(self):
        image = ACAImage([[1, 2], [3, 4]], dtype="f4", col0=-7)
        assert image.dtype == np.float32
        assert (image.row0, image.col0) == (0, -7)

    @pytest.mark.parametrize("data", [5, [1, 2, 3], np.zeros((2, 2, 2))])
    def test_anything_but_two_dimensions_is_refused(self, data):
        with pytest.raises(InputError, match=r"two-dimensional; got shape"):
            ACAImage(data)

    def test_refusal_is_a_value_error_as_documented(self):
        with pytest.raises(ValueError):
            ACAImage(shape=(3,))

    def test_position_from_meta_keeps_its_type_and_a_keyword_wins(self):
        meta = {"IMGROW0": np.int16(-183), "IMGCOL0": np.int16(-169), "TIME": 1.5}
        image = ACAImage(np.zeros((2, 2)), meta=meta, col0=4)
        assert image.row0.dtype == np.int16
        assert (image.row0, image.col0, image.TIME) == (-183, 4, 1.5)
        assert image.col0.dtype == np.int64

    def test_callers_dictionary_is_not_touched(self):
        meta = {"BGDAVG": 5, "HISTORY": ["a"]}
        image = ACAImage(np.zeros((2, 2)), meta=meta, row0=3)
        image.HISTORY.append("b")
        assert meta == {"BGDAVG": 5, "HISTORY": ["a"]}
        assert ACAImage(shape=(1, 1)).meta == {"IMGROW0": 0, "IMGCOL0": 0}


class TestMeta:
    def test_upper_case_attributes_are_meta(self, image):
        image.IMGSCALE = 230
        assert image.meta["IMGSCALE"] == 230
        image.meta["INTEG"] = 1.696
        assert image.INTEG == 1.696

    @pytest.mark.parametrize("name", ["IMGSCALE", "nothing"])
    def test_unknown_attribute(self, image, name):
        with pytest.raises(AttributeError, match=name):
            getattr(image, name)

    def test_setting_the_position(self, image):
        image.row0 = 5.0
        image.col0 = np.int16(7)
        assert image.meta == {"IMGROW0": 5, "IMGCOL0": 7}
        assert {type(value) for value in image.meta.values()} == {np.int64}

    @pytest.mark.parametrize(
        "duplicate",
        [
            lambda image: pickle.loads(pickle.dumps(image)),
            copy.copy,
            copy.deepcopy,
            lambda image: image.copy(),
            lambda image: image[:],
            lambda image: image + 0,
        ],
    )
    def test_every_copy_owns_its_meta(self, image, duplicate):
        image.IMGSCALE = 32
        image.HISTORY = ["made"]
        other = duplicate(image)
        assert isinstance(other, ACAImage)
        assert other.tolist() == image.tolist()
        assert other.meta == {"IMGROW0": 10, "IMGCOL0": 20, "IMGSCALE": 32, "HISTORY": ["made"]}
        other.row0 = 99
        other.HISTORY.append("changed")
        assert (image.row0, image.HISTORY) == (10, ["made"])

    def test_aca_shares_pixels_and_meta(self, image):
        absolute = image.aca
        assert absolute.meta is image.meta
        absolute.row0 = 30
        absolute[30, 20] = 77
        assert (image.row0, image[0, 0]) == (30, 77)

    def test_numpy_functions_keep_the_position_and_a_sum_is_a_number(self, image):
        root = np.sqrt(image)
        assert (root.row0, root.col0, root[3, 3]) == (10, 20, np.sqrt(15))
        assert type(image.sum()) is np.int64
        assert image.sum() == 120

    def test_repr_shows_rounded_pixels_and_leaves_them(self):
        image = ACAImage([[0.4, 1.6], [-2.7, 1000.2]], row0=-5, col0=3)
        assert repr(image) == "<ACAImage row0=-5 col0=3\n[[0 2]\n [-3 1000]]>"
        assert image[0, 1] == 1.6


class TestIndexing:
    def test_one_pixel_in_ccd_coordinates(self, image):
        assert image.aca[13, 23] == 15
        assert image.aca[10, 20] == 0

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            ((14, 20), r"row index 14 is outside the image, 10:14"),
            ((9, 20), r"row index 9 is outside the image, 10:14"),
            ((10, 24), r"col index 24 is outside the image, 20:24"),
            ((0, 0), r"row index 0 is outside"),
            ((-1, 20), r"row index -1 is outside"),
            (([11, 14], 20), r"row index 14 is outside"),
        ],
    )
    def test_outside_is_an_index_error_with_the_limits(self, image, index, message):
        with pytest.raises(IndexError, match=message):
            image.aca[index]

    @pytest.mark.parametrize(
        ("index", "place", "pixels"),
        [
            (np.s_[12:, 22:], (12, 22), [[10, 11], [14, 15]]),
            (np.s_[:11, :22], (10, 20), [[0, 1]]),
            (np.s_[12], (12, 20), [8, 9, 10, 11]),
            (np.s_[..., 23], (10, 23), [3, 7, 11, 15]),
            (np.s_[...], (10, 20), np.arange(16).reshape(4, 4).tolist()),
            (np.s_[0:12, 23:99], (10, 23), [[3], [7]]),
            (np.s_[-100:11, 20:22], (10, 20), [[0, 1]]),
            (np.s_[11:14:2, 20:21], (11, 20), [[4], [12]]),
            (np.s_[[11, 13], 21], (10, 21), [5, 13]),
        ],
    )
    def test_slices_in_ccd_coordinates(self, image, index, place, pixels):
        part = image.aca[index]
        assert part.tolist() == pixels
        assert (part.row0, part.col0) == place
        assert part[0].tolist() == pixels[0], "the result is back in plain indexing"

    @pytest.mark.parametrize("index", [np.s_[:5, :], np.s_[20:, :], np.s_[:, 100:200]])
    def test_a_slice_beside_the_image_is_empty(self, image, index):
        assert image.aca[index].size == 0

    @pytest.mark.parametrize(
        ("index", "place", "pixels"),
        [
            (np.s_[2:, 3:], (12, 23), [[11], [15]]),
            (np.s_[-2:, -1:], (12, 23), [[11], [15]]),
            (np.s_[-1], (13, 20), [12, 13, 14, 15]),
            (np.s_[:, -3], (10, 21), [1, 5, 9, 13]),
            (np.s_[-99:1, 1:2], (10, 21), [[1]]),
            (np.s_[...], (10, 20), np.arange(16).reshape(4, 4).tolist()),
            (np.s_[np.arange(16).reshape(4, 4) > 13], (10, 20), [14, 15]),
        ],
    )
    def test_plain_slices_know_their_place(self, image, index, place, pixels):
        part = image[index]
        assert part.tolist() == pixels
        assert (part.row0, part.col0) == place

    def test_plain_indexing_outside(self, image):
        with pytest.raises(IndexError):
            image[4, 0]

    def test_a_comparison_is_a_mask_in_both_modes(self, image):
        assert image[image > 13].tolist() == [14, 15]
        assert image.aca[image > 13].tolist() == [14, 15]
        image[image > 3] = 0
        assert image.sum() == 6

    def test_what_has_no_ccd_meaning_is_refused(self, image):
        with pytest.raises(IndexError, match="no new axis"):
            image.aca[None, 12:]
        with pytest.raises(IndexError, match="step -1"):
            image.aca[::-1]

    def test_setting_in_ccd_coordinates(self, image):
        image.aca[11:13, 21] = -1
        assert image.tolist() == [[0, 1, 2, 3], [4, -1, 6, 7], [8, -1, 10, 11], [12, 13, 14, 15]]

    def test_an_image_as_index_is_its_region(self, image):
        full = ACAImage(shape=(1024, 1024), row0=-512, col0=-512)
        full[image] = image
        full[image] += 100
        assert full.sum() == 1720
        assert full.aca[13, 23] == 115
        region = full[image]
        assert (region.row0, region.col0, region.shape) == (10, 20, (4, 4))

    def test_the_region_is_clipped_at_the_border(self, image):
        corner = ACAImage(np.ones((3, 3)), row0=12, col0=18)
        region = image[corner]
        assert region.tolist() == [[8], [12]]
        assert (region.row0, region.col0) == (12, 20)


OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv),
    *(operator.floordiv, operator.mod, operator.pow),
]
IN_PLACE = [
    *(operator.iadd, operator.isub, operator.imul, operator.itruediv),
    *(operator.ifloordiv, operator.imod, operator.ipow),
]


class TestArithmetic:
    def test_documented_sum(self):
        left = ACAImage(np.ones((6, 6)), row0=10, col0=20)
        right = ACAImage(10 * np.arange(1, 17).reshape(4, 4), row0=8, col0=18)
        total = left + right.aca
        assert total[0].tolist() == [111, 121, 1, 1, 1, 1]
        assert total[1].tolist() == [151, 161, 1, 1, 1, 1]
        assert total[2:].tolist() == np.ones((4, 6)).tolist()
        assert (total.row0, total.col0) == (10, 20)
        assert left.tolist() == np.ones((6, 6)).tolist()

    @pytest.mark.parametrize(
        ("operate", "in_place", "expected"),
        list(zip(OPERATORS, IN_PLACE, [9, 5, 14, 3.5, 3, 1, 49], strict=True)),
    )
    @pytest.mark.parametrize("side", ["left", "right", "both"])
    def test_every_operator_on_the_one_common_pixel(self, operate, in_place, expected, side):
        left = ACAImage(np.full((2, 2), 7.0), row0=0, col0=0, meta={"SIDE": "left"})
        right = ACAImage(np.full((2, 2), 2.0), row0=1, col0=-1)
        a = left if side == "right" else left.aca
        b = right if side == "left" else right.aca
        result = operate(a, b)
        assert result.tolist() == [[7, 7], [expected, 7]]
        assert result.meta == {"IMGROW0": 0, "IMGCOL0": 0, "SIDE": "left"}
        assert result[1, 0] == expected, "plain indexing again"
        assert left.tolist() == [[7, 7], [7, 7]]
        in_place(a, b)
        assert left.tolist() == [[7, 7], [expected, 7]]
        assert right.tolist() == [[2, 2], [2, 2]]

    def test_augmented_assignment_to_the_aca_view(self, image):
        image.aca += ACAImage([[100]], row0=13, col0=20)
        assert image[3].tolist() == [112, 13, 14, 15]

    def test_the_aca_view_cannot_be_replaced(self, image):
        with pytest.raises(AttributeError, match="cannot be replaced"):
            image.aca = ACAImage(shape=(4, 4))

    def test_without_common_pixel_the_left_is_copied(self, image):
        result = image - ACAImage(np.ones((4, 4), dtype=int), row0=14, col0=20).aca
        assert result.tolist() == image.tolist()
        result[0, 0] = 5
        assert image[0, 0] == 0

    def test_int_and_float_are_promoted_unless_in_place(self, image):
        half = ACAImage([[0.5]], row0=10, col0=21)
        assert (image + half.aca)[0].tolist() == [0, 1.5, 2, 3]
        assert (image + half.aca).dtype == np.float64
        with pytest.raises(TypeError, match="same_kind"):
            image += half.aca

    def test_plain_images_and_numbers_work_by_element(self, image):
        elsewhere = ACAImage(np.ones((4, 4), dtype=int), row0=500, col0=500)
        assert (image + elsewhere).tolist() == (np.arange(1, 17).reshape(4, 4)).tolist()
        assert (2 * image.aca)[3, 3] == 30
        image += 1
        assert image[0, 0] == 1


class TestCentroid:
    @pytest.mark.parametrize(
        ("place", "expected"), [("center", (2.0, 2.0, 100.0)), ("edge", (2.5, 2.5, 100.0))]
    )
    def test_corners_of_six_by_six_do_not_count(self, place, expected):
        image = ACAImage(shape=(6, 6), row0=10, col0=20)
        image[0, 0] = 1000
        image[2, 2] = 100
        assert image.centroid_fm(pix_zero_loc=place) == expected

    def test_eight_by_eight_uses_the_inner_pixels(self):
        image = ACAImage(shape=(8, 8), row0=-30, col0=188)
        image[0, :] = 500
        image[1, 1] = 1000
        image[2, 3] = 30
        image[6, 3] = 10
        assert image.centroid_fm() == (3.0, 3.0, 40.0)
        assert image.aca.centroid_fm() == (-27.0, 191.0, 40.0)

    def test_four_by_four_uses_all(self):
        image = ACAImage(shape=(4, 4))
        image[0, 0] = 30
        image[3, 1] = 10
        assert image.centroid_fm() == (0.75, 0.25, 40.0)

    def test_background_number_and_array(self):
        image = ACAImage(np.full((8, 8), 5.0))
        image[4, 2] += 100
        assert image.centroid_fm(bgd=5.0) == (4.0, 2.0, 100.0)
        assert image.centroid_fm(bgd=np.full((8, 8), 5.0)) == (4.0, 2.0, 100.0)
        assert image[0, 0] == 5.0

    def test_norm_must_be_positive_unless_clipped(self):
        image = ACAImage(shape=(4, 4))
        with pytest.raises(ValueError, match=r"norm is 0\.0"):
            image.centroid_fm()
        image[1, 2] = 8
        assert image.centroid_fm(norm_clip=16) == (0.5, 1.0, 16)
        assert image.centroid_fm(norm_clip=2) == (1.0, 2.0, 8.0)

    def test_refusals(self):
        with pytest.raises(InputError, match=r"square image; got shape \(4, 5\)"):
            ACAImage(np.ones((4, 5))).centroid_fm()
        with pytest.raises(InputError, match="'corner'; expected 'center' or 'edge'"):
            ACAImage(np.ones((4, 4))).centroid_fm(pix_zero_loc="corner")


@pytest.mark.real
@pytest.mark.parametrize(
    ("slot", "place", "centroid", "total_e_per_s"),
    [
        (0, (-183, -169), (-179.5083, -165.7602, 34905.31), 37344.69 * 5 / 1.696),
        (3, (131, 279), (133.6032, 281.6943, 13896.25), 40967.7),
    ],
)
def test_real_first_images(real_data, slot, place, centroid, total_e_per_s):
    with fits.open(
        real_data / "real" / "aca_l0" / f"acaf686111014N001_{slot}_img0.fits.gz"
    ) as hdus:
        row = hdus[1].data[0]
        meta = {name: row[name] for name in ("TIME", "IMGROW0", "IMGCOL0", "INTEG")}
        image = ACAImage(row["IMGRAW"], meta=meta)
    assert f"{image.TIME:.6f}" == "686111012.493093"
    assert (image.row0, image.col0) == place
    row, col, norm = image.aca.centroid_fm()
    assert (round(row, 4), round(col, 4), round(norm, 2)) == centroid
    assert abs(image.sum() * 5 / image.INTEG - total_e_per_s) < 0.06
