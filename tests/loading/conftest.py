from tests.pipelines.conftest import case, cogvideox, wan

__all__ = ["case", "cogvideox", "wan"]
