"""Interventions on the gap: fitted on some embeddings, applied to others, undone where that can be, kept in a file.

calibration = util.interventions.fit("centring", images, texts)
new_images, _ = calibration.transform(x=new_images)
util.interventions.save("centring.safetensors", calibration)
"""

from .._lazy import attributes

__getattr__, __dir__ = attributes(
    __name__, KINDS="kinds", Intervention="intervention", fit="calibration", load="calibration", save="calibration"
)
