"""A page that runs bundles in a browser: a static folder, offline after the first visit. Nothing here needs torch.

site: makes the folder of bundles of the target wasm and the page's own code. serving: shows it on this machine.
icons: the page's icons, drawn.
"""

from edgernn.page.serving import Server
from edgernn.page.site import Opening, Site, build_site

__all__ = ["Opening", "Server", "Site", "build_site"]
