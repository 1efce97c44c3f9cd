"""The systems of Figure 1 at sizes that take no time."""

import transformers

from systems import clasp, convirt

FRAMES, SIDE = 3, 32
CLASP = clasp.Sizes(width=16, depth=3, heads=2, head_width=8, mlp=2, text=32, sequence=20)
CONVIRT = convirt.Sizes(resnet="resnet18", width=32, layers=2, heads=4, mlp=48, context=16, dim=24)
LAYERS = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def x_clip_config(vocabulary=49408, context=77, frames=FRAMES):
    text = {"vocab_size": vocabulary, "max_position_embeddings": context, "hidden_size": 16, **LAYERS}
    mit = {"mit_hidden_size": 24, "mit_intermediate_size": 48, "mit_num_attention_heads": 4}
    vision = {"image_size": SIDE, "patch_size": 16, "num_frames": frames, "hidden_size": 32, **mit, **LAYERS}
    prompts = {"prompt_num_attention_heads": 4, "prompt_alpha": 0.5}
    return transformers.XCLIPConfig(text_config=text, vision_config=vision, projection_dim=24, **prompts)
