"""The networks: MViTv2-S as published, a small one of its family, torchvision's others, the user's own."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
