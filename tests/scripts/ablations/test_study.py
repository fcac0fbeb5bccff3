"""Pages of the studies from made-up scores: cells with intervals, differences clip by clip, rows beside the arms."""

from scripts.ablate import STUDIES
from scripts.ablations.study import page


def score(*clips):
    return {"mean": sum(clips) / len(clips), "interval": [min(clips), max(clips)], "clips": list(clips)}


def page_of(name, scores, **more):
    plan = {"steps": 7, "batch": 2, "size": 32, "device": "cpu", "hrnet": "hrnet_w18"}
    arms = {arm: {"scores": values, "minutes": 1.0} for arm, values in scores.items()}
    return page(STUDIES[name], f"ablate {name}", {"plan": plan, "arms": arms, **more})


def test_the_papers_ablation():
    def scores(shift):
        psnr = score(20.0 + shift, 21.0 + shift, 23.0 + shift)
        other = {"mean": 0.5, "interval": [0.4, 0.6]}
        read = {name: other for name in ("pose", "expression", "leak", "eer")}
        return {**read, "psnr": psnr, "psnr_face": psnr, "copy": psnr, "copy_face": psnr}

    labels = {"leak": {"mean": 40.0, "interval": [30, 50]}}
    text = page_of("stage-one", {"all": scores(0.0), "no-hal": scores(-0.5)}, labels=labels)
    assert "| HAL, AAM-softmax, mutual information | 21.33 [20.00, 23.00] |" in text
    assert "| last stage instead of HAL | -0.50 [-0.50, -0.50] * | -0.50 [-0.50, -0.50] * |\n" in text
    assert "| copying the first frame | 21.33 [20.00, 23.00] |" in text and "40.0 [30.0, 50.0]" in text
    assert "Made by `ablate stage-one`" in text and "7 steps of 2 pairs" in text and "\n\n\n" not in text


def test_decoders():
    def scores(value, warp=True):
        model = {name: score(value, value + 0.05, value - 0.05) for name in ("whole", "face", "mouth", "eyes")}
        both = {"model": model, "warp": {"whole": score(1.4, 1.6)}} if warp else {"model": {"whole": score(-3, -3, -3)}}
        return {**both, "size": 256, "milliseconds": 31.4, "parameters": 1.25}

    text = page_of("decoders", {"shipped": scores(2.0), "wide": scores(2.5), "pyramid-half": scores(0.0, warp=False)})
    assert "| 32 to 192 channels | 2.50 [2.45, 2.55] |" in text and "| 31 | 1.25 |" in text
    assert "| the landmark warp alone | 1.50" in text
    assert "| 32 to 192 channels | +0.50 [+0.50, +0.50] * | +0.50" in text
    assert "| the original's learned flow, half its width | -5.00 [-5.05, -4.95] * |  |  |  |" in text


def test_encoders():
    def scores(value):
        read = {name: {"mean": 0.5, "interval": [0.4, 0.6]} for name in ("pose", "lips", "eyes")}
        stages = [{"stride": stride, "weight": 0.5, **read} for stride in (4, 256)]
        driven = score(value, value + 0.1, value - 0.1)
        return {"landmark": driven, **read, "stages": stages, "milliseconds": 3.0, "parameters": 1.5}

    text = page_of("encoders", {"lia": scores(2.0), "lia-last": scores(2.5)})
    assert "| lia, HAL | 2.00 [1.90, 2.10] | 0.500 [0.400, 0.600] |" in text
    assert "| lia, last stage | 256 | 0.500 |" in text
    assert "| HAL against the last stage, lia | -0.50 [-0.50, -0.50] * |" in text
    assert "ResNet against lia" not in text  # an arm that was not trained
    assert "Differences" not in page_of("encoders", {"lia": scores(2.0)})
