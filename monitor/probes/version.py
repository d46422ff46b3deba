"""Which libcurl there is; light, because ``monitor --version`` says it."""

import pycurl

LIBCURL_VERSION: str = pycurl.version_info()[1]
