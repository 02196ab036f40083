"""Other multi-track sets, and any folder of stems, in Slakh2100's layout."""

from datamodules.importing.importer import import_songs
from datamodules.importing.layouts import LAYOUTS
from datamodules.importing.report import ImportReport
from datamodules.importing.stem_map import StemMap, read_map

__all__ = ["LAYOUTS", "ImportReport", "StemMap", "import_songs", "read_map"]
