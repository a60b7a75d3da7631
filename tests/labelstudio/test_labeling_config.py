"""What a labeling config offers, and what is said of one that offers nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config import ControlKind, MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.gestures import Gesture, read_gesture
from tam_backend.labelstudio.recommended_config import recommended_config

FRAMES_PAGE = """
<View>
  <Image name="pages" valueList="$frames"/>
  <BrushLabels name="paint" toName="pages" smart="false">
    <Label value="Dog"/><Label value="Cat" alias="c"/>
  </BrushLabels>
  <KeyPointLabels name="kp" toName="pages" smart="true"><Label value="Dog"/><Label value="Propagate"/></KeyPointLabels>
  <RectangleLabels name="rect" toName="pages"><View><Label value="Dog"/></View></RectangleLabels>
  <Choices name="quality" toName="pages"><Choice value="good"/></Choices>
</View>
"""


def test_frame_list_with_brush_points_and_boxes():
    config = parse_config(FRAMES_PAGE)
    (media,) = config.media
    assert (media.name, media.kind, media.data_key) == ("pages", MediaKind.FRAMES, "frames")
    assert [(c.name, c.kind) for c in config.controls_of(media)] == [
        ("paint", ControlKind.BRUSH),
        ("kp", ControlKind.POINT),
        ("rect", ControlKind.BOX),
    ]
    assert config.mask_output(media).name == "paint"
    assert config.output(media).name == "paint"
    assert config.box_output(media) is None
    assert config.control("rect", "pages").labels == ("Dog",)


def test_an_alias_stands_in_results_and_the_value_on_the_page():
    paint = parse_config(FRAMES_PAGE).control("paint", "pages")
    assert paint.labels == ("Dog", "c")
    assert paint.shows("c") == "Cat"
    assert paint.shows("unheard of") == "unheard of"
    assert paint.shows(None) is None


def test_single_image():
    config = parse_config('<View><Image name="i" value="$image"/><BitmaskLabels name="m" toName="i"/></View>')
    assert config.media[0].kind is MediaKind.IMAGE
    assert config.mask_output(config.media[0]).kind is ControlKind.BITMASK


@pytest.mark.parametrize(
    ("attribute", "rate"),
    [("", 24), ('frameRate="30"', 30), ('framerate="12.5"', 12.5), ('frameRate="0.04"', 25), ('frameRate="x"', 24)],
)
def test_video_frame_rate_is_the_tags(attribute, rate):
    config = parse_config(
        f'<View><Video name="v" value="$video" {attribute}/><VideoRectangle name="b" toName="v"/>'
        '<Labels name="l" toName="v"><Label value="Car"/></Labels></View>'
    )
    (media,) = config.media
    assert media.kind is MediaKind.VIDEO
    assert media.frame_rate_for({}) == pytest.approx(rate)
    box = config.box_output(media)
    assert (box.kind, box.labels, box.labels_tag) == (ControlKind.VIDEO_BOX, ("Car",), "l")
    assert config.output(media) is box


def test_video_frame_rate_may_come_from_the_task():
    page = '<View><Video name="v" value="$clip.url" frameRate="$fps"/><VideoRectangle name="b" toName="v"/></View>'
    (media,) = parse_config(page).media
    assert media.frame_rate_for({"fps": "29.97"}) == pytest.approx(29.97)
    assert media.frame_rate_for({}) == 24
    assert media.value({"clip": {"url": "x.mp4"}}) == "x.mp4"
    assert media.value({"clip": "x.mp4"}) is None
    assert media.value({"clip.url": "flat"}) == "flat"


def test_own_labels_of_a_video_rectangle():
    config = parse_config(
        '<View><Video name="v" value="$v"/>'
        '<VideoRectangle name="b" toName="v"><Label value="A"/></VideoRectangle></View>'
    )
    assert config.controls[0].labels == ("A",)
    assert config.controls[0].labels_tag is None


def test_unlabelled_tags_take_their_labels_from_the_shared_labels_tag():
    config = parse_config(
        '<View><Image name="i" valueList="$f"/><Brush name="m" toName="i"/><KeyPoint name="k" toName="i"/>'
        '<Labels name="l" toName="i"><Label value="A"/></Labels></View>'
    )
    assert [(c.labels, c.labels_tag) for c in config.controls] == [(("A",), "l")] * 2


def test_one_control_for_several_media():
    config = parse_config(
        '<View><Image name="a" value="$a"/><Image name="b" valueList="$b"/><BrushLabels name="m" toName="a, b"/></View>'
    )
    assert [(c.name, c.to_name) for c in config.controls] == [("m", "a"), ("m", "b")]


def test_frames_and_video_on_one_page():
    config = parse_config(recommended_config(["Dog"], video=True))
    frames, video = config.media
    assert (frames.kind, video.kind) == (MediaKind.FRAMES, MediaKind.VIDEO)
    assert config.output(frames).name == "mask"
    assert config.output(video).name == "track"
    assert config.box_output(video).labels == ("Dog",)


def test_names_are_read_without_regard_to_case():
    config = parse_config('<view><image NAME="i" VALUELIST="$f"/><brushlabels name="m" TONAME="i"/></view>')
    assert config.mask_output(config.media[0]).name == "m"


def test_what_cannot_draw_on_a_media_is_no_control_of_it():
    config = parse_config(
        '<View><Video name="v" value="$v"/><BrushLabels name="m" toName="v"/>'
        '<VideoRectangle name="b" toName="v"/></View>'
    )
    assert [c.name for c in config.controls] == ["b"]


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "empty"),
        (None, "empty"),
        ("<View>", "not well-formed"),
        ("plain text", "not well-formed"),
        ("<View>\ud800</View>", "not well-formed"),
        ("<View><Text name='t' value='$t'/></View>", "no <Image> or <Video>"),
        ("<View><Image name='i' value='http://a/b.png'/><Brush name='m' toName='i'/></View>", "no <Image> or <Video>"),
        (
            "<View><Image name='i' value='$i'/><KeyPointLabels name='k' toName='i'/></View>",
            'no tag for masks or boxes on "i"',
        ),
        ("<View><Video name='v' value='$v'/><Labels name='k' toName='v'/></View>", 'no tag for masks or boxes on "v"'),
        ("<View>" + " " * 1_000_001 + "</View>", "characters long"),
    ],
)
def test_useless_configs_say_what_to_add(xml, said):
    with pytest.raises(LabelConfigError) as error:
        parse_config(xml)
    assert said in error.value.message
    assert error.value.remedy


def test_media_without_an_answer_beside_one_with():
    config = parse_config(
        '<View><Image name="map" value="$map"/><Image name="f" valueList="$f"/><Brush name="m" toName="f"/></View>'
    )
    with pytest.raises(LabelConfigError, match='"map"'):
        config.output(config.media[0])


def test_entities_are_never_expanded():
    lol = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    for xml in (
        f"<?xml version='1.0'?><!DOCTYPE lolz [{lol}]><View>&l11;</View>",
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><View/>',
    ):
        with pytest.raises(LabelConfigError, match="document type"):
            parse_config(xml)


def test_deep_nesting_is_only_deep():
    with pytest.raises(LabelConfigError):
        parse_config("<View>" * 50_000 + "</View>" * 50_000)


def test_a_declared_encoding_does_not_matter():
    page = FRAMES_PAGE.strip().replace("Dog", "Hündchen")
    config = parse_config('<?xml version="1.0" encoding="latin-1"?>' + page)
    assert config.control("paint", "pages").labels[0] == "Hündchen"


@given(st.text(), st.sampled_from(["{}", "<View>{}</View>"]))
def test_any_text_parses_or_is_a_config_error(text, around):
    try:
        parse_config(around.format(text))
    except LabelConfigError as error:
        assert error.message


@pytest.mark.parametrize("masks", ["brush", "bitmask"])
def test_recommended_config_parses_back(masks):
    labels = ['Dog "the big"', "a<b & c", "Ünïcode's"]
    config = parse_config(recommended_config(labels, masks=masks, propagate_label="Go & track"))
    (media,) = config.media
    assert (media.kind, media.data_key) == (MediaKind.FRAMES, "frames")
    output = config.mask_output(media)
    assert output.kind.value == masks
    assert output.labels == tuple(labels)
    points, boxes = config.controls[1:]
    assert (points.kind, points.labels) == (ControlKind.POINT, (*labels, "Go & track"))
    assert (boxes.kind, boxes.labels) == (ControlKind.BOX, tuple(labels))


def test_recommended_config_makes_only_points_and_boxes_smart():
    lines = recommended_config(["Dog"]).splitlines()
    mask, points, boxes = (
        next(line for line in lines if f"<{tag}" in line) for tag in ("Brush", "KeyPoint", "Rectangle")
    )
    assert 'smart="false"' in mask
    assert 'smart="true" smartOnly="true"' in points
    assert 'smart="true" smartOnly="true"' in boxes


def test_recommended_config_gives_no_key_twice():
    import re

    page = recommended_config([f"label {i}" for i in range(20)], video=True)
    keys = re.findall(r'hotkey="([^"]+)"', page)
    assert len(keys) == 19  # nine for points, nine for boxes, one for Propagate
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("labels", [[], ["a", "A"], [" "], ["propagate"], ["a\0b"], ["\ud800"]])
def test_recommended_config_refuses_labels_that_do_not_work(labels):
    with pytest.raises(LabelConfigError):
        recommended_config(labels)


@given(
    st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip), min_size=1, max_size=12)
)
def test_any_labels_survive_the_recommended_config(labels):
    try:
        page = recommended_config(labels, video=True)
    except LabelConfigError:
        assert len({label.strip().casefold() for label in labels} | {"propagate"}) <= len(labels)
        return
    config = parse_config(page)
    assert config.mask_output(config.media[0]).labels == tuple(label.strip() for label in labels)


def test_the_recommended_config_may_have_labels_that_begin_another_object():
    page = parse_config(recommended_config(["Dog", "a<b"], new_objects=True))
    masks, points, boxes = page.controls
    assert points.labels == ("Dog", "a<b", "New Dog", "New a<b", "Propagate")
    assert masks.labels == ("Dog", "a<b")
    assert boxes.labels == ("Dog", "a<b", "New Dog", "New a<b"), "no click begins anything inside a bitmask"
    assert [read_gesture(label, masks.labels) for label in points.labels[2:4]] == [
        (Gesture.NEW, "Dog"),
        (Gesture.NEW, "a<b"),
    ]
