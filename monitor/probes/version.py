"""The version of libcurl; a light module, because ``monitor --version`` needs it."""

import pycurl

LIBCURL_VERSION: str = pycurl.version_info()[1]
