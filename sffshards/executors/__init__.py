"""Where tasks are computed: in this process, in processes of this machine, or on a Dask cluster."""

from sffshards.base.package_faces import attach_face

__getattr__, __dir__, __all__ = attach_face(__name__, __file__)
