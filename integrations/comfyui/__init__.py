"""ComfyUI nodes: a portrait speaks a recording. ComfyUI reads the two mappings."""

from .nodes import LoadModel, Speak

NODE_CLASS_MAPPINGS = {"AniTalkerLoadModel": LoadModel, "AniTalkerSpeak": Speak}
NODE_DISPLAY_NAME_MAPPINGS = {"AniTalkerLoadModel": "AniTalker: load model", "AniTalkerSpeak": "AniTalker: speak"}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
