"""Face detectors of other architectures, by torchvision's classes, beside our own: to be compared, not to be shipped.

ssd        SSDlite (Liu et al., 2016; Sandler et al., 2018), default boxes from 19 pixels, finest map at stride 16
retinanet  anchors and focal loss, four convolutions per head (Lin et al., 2017)
fcos       no anchors, a centre score (Tian et al., 2019)
fasterrcnn proposals, RoIAlign, a second stage (Ren et al., 2015; He et al., 2017)

All stand on MobileNetV3-small (Howard et al., 2019), the last three under a feature pyramid; retinanet and fasterrcnn
take the anchors of our own. None has seen other pictures before. Only boxes are learned: key points are our own
network's alone.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from anitalker.config import DetectorConfig, InputError
from anitalker.faces.face_network import KEY_POINTS, Detections, Detector
from scripts.training.face_losses import detector_loss

ARCHITECTURES = ("own", "ssd", "retinanet", "fcos", "fasterrcnn")
WIDTH = 48  # channels of the pyramid and of the heads, as many as our own has
OVERLAP = 0.35  # of non-maximum suppression, as in `Detector.detect`
MATCH = (0.4, 0.3)  # overlap that makes an anchor a face, and background, as in `face_losses.match`
MOST = 50  # faces of one picture


def build(arch: str, config: DetectorConfig) -> nn.Module:
    """An untrained detector; InputError for an unknown name."""
    if arch == "own":
        return Detector(config)
    return Compared(arch, config)


def losses(
    network: nn.Module, pictures: Tensor, boxes: Tensor, points: Tensor, valid: Tensor, bf16: bool = False
) -> dict[str, Tensor]:
    """The terms of a detector's own loss on what `make_scenes` gives; bf16: of the network, not of the loss."""
    if not isinstance(network, Detector):
        return network.losses(pictures, boxes, valid, bf16)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = network(pictures)
    anchors = network.anchors(*pictures.shape[-2:])
    return dict(zip(("score", "box", "points"), detector_loss(out, anchors, boxes, points, valid), strict=True))


class Trunk(nn.Module):
    """MobileNetV3-small and a feature pyramid: [B,3,H,W] -> maps of `width` channels at strides 8, 16 and 32."""

    def __init__(self, width: int = WIDTH) -> None:
        from torchvision.models import mobilenet_v3_small
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        layers = mobilenet_v3_small(weights=None, norm_layer=nn.BatchNorm2d).features
        self.stages = nn.ModuleList([layers[:4], layers[4:9], layers[9:]])
        self.pyramid = FeaturePyramidNetwork([24, 48, 576], width, norm_layer=nn.BatchNorm2d)
        self.out_channels, self.bf16 = width, False

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            for number, stage in enumerate(self.stages):
                x = maps[str(number)] = stage(x)
            maps = self.pyramid(maps)
        return {name: one.float() for name, one in maps.items()}


class Compared(nn.Module):
    """A detector of torchvision behind the interface of ours: `losses` and `detect`."""

    def __init__(self, arch: str, config: DetectorConfig) -> None:
        super().__init__()
        if arch not in ARCHITECTURES[1:]:
            raise InputError(f"arch is {arch!r}; allowed are {', '.join(ARCHITECTURES)}")
        self.config = config
        self.model = {"ssd": _ssd, "retinanet": _retinanet, "fcos": _fcos, "fasterrcnn": _fasterrcnn}[arch](config)
        self.model.transform._skip_resize = True  # pictures come at their size, in [-1,1]
        self.model.transform.image_mean, self.model.transform.image_std = [0.0] * 3, [1.0] * 3

    def losses(self, pictures: Tensor, boxes: Tensor, valid: Tensor, bf16: bool = False) -> dict[str, Tensor]:
        """torchvision's own terms on pictures [B,3,H,W] in [-1,1] with boxes [B,G,4] where valid [B,G]."""
        if isinstance(self.model.backbone, Trunk):
            self.model.backbone.bf16 = bf16
        labels = [torch.ones(int(real.sum()), dtype=torch.int64) for real in valid]
        faces = [box[real] for box, real in zip(boxes, valid, strict=True)]
        return self.model(list(pictures), [{"boxes": b, "labels": n} for b, n in zip(faces, labels, strict=True)])

    @torch.no_grad()
    def detect(self, pictures: Tensor, threshold: float = 0.5) -> list[Detections]:
        """As `Detector.detect`; the key points are all zero."""
        if isinstance(self.model.backbone, Trunk):
            self.model.backbone.bf16 = False
        holder = getattr(self.model, "roi_heads", self.model)
        holder.score_thresh = threshold
        found = [(one["boxes"], one["scores"]) for one in self.model(list(pictures))]
        return [Detections(boxes, scores, boxes.new_zeros(len(boxes), KEY_POINTS, 2)) for boxes, scores in found]


def _ssd(config: DetectorConfig) -> nn.Module:
    from torchvision.models import mobilenet_v3_small
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead

    layers = mobilenet_v3_small(weights=None, norm_layer=nn.BatchNorm2d).features
    trunk = SSDLiteFeatureExtractorMobileNet(layers, 9, nn.BatchNorm2d)  # 9: the first block at stride 32
    with torch.no_grad():
        channels = [one.shape[1] for one in trunk.eval()(torch.zeros(1, 3, 320, 320)).values()]
    # torchvision's own boxes begin at 64 pixels; our scenes have faces of 14.
    boxes = DefaultBoxGenerator([[2, 3]] * 6, scales=[0.06, 0.12, 0.25, 0.45, 0.65, 0.85, 1.0])
    head = SSDLiteHead(channels, boxes.num_anchors_per_location(), 2, nn.BatchNorm2d)
    size = (config.long_side,) * 2
    model = SSD(trunk, boxes, size, 2, head=head, nms_thresh=OVERLAP, detections_per_img=MOST, topk_candidates=400)
    return model.train()


def _anchors(config: DetectorConfig) -> nn.Module:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(config.anchors, ((1.0,),) * len(config.anchors))


def _retinanet(config: DetectorConfig) -> nn.Module:
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.retinanet import RetinaNetHead

    anchors = _anchors(config)
    # Not batch norm: all levels share the head, and its running means would fit none of them.
    head = RetinaNetHead(WIDTH, anchors.num_anchors_per_location()[0], 2, norm_layer=partial(nn.GroupNorm, 16))
    settings = {"fg_iou_thresh": MATCH[0], "bg_iou_thresh": MATCH[1], "nms_thresh": OVERLAP}
    return RetinaNet(
        Trunk(), 2, anchor_generator=anchors, head=head, detections_per_img=MOST, topk_candidates=400, **settings
    )


def _fcos(config: DetectorConfig) -> nn.Module:
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)  # its unit of length at each stride
    trunk = Trunk(64)  # its heads normalise 32 groups of channels
    return FCOS(trunk, 2, anchor_generator=anchors, nms_thresh=OVERLAP, detections_per_img=MOST, topk_candidates=400)


def _fasterrcnn(config: DetectorConfig) -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2)
    proposals = {"rpn_fg_iou_thresh": MATCH[0], "rpn_bg_iou_thresh": MATCH[1]}
    proposals |= {f"rpn_pre_nms_top_n_{when}": 400 for when in ("train", "test")}
    return FasterRCNN(
        Trunk(),
        rpn_anchor_generator=_anchors(config),
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=MOST,
        box_roi_pool=pool,
        box_head=TwoMLPHead(WIDTH * 49, 256),
        box_predictor=FastRCNNPredictor(256, 2),
        box_nms_thresh=OVERLAP,
        box_detections_per_img=MOST,
        box_batch_size_per_image=64,
        **proposals,
    )
