# SPDX-License-Identifier: Apache-2.0
"""A directory that is nowhere: GIT_CONFIG_GLOBAL=/virtual/etc/gitconfig lsca run -s virtual_tree.py -- git ..."""

from lsca.services import files

files.tree(
    "/virtual",
    {
        "readme.txt": "Nothing of this is on a disk.\n",
        "etc": {"gitconfig": "[user]\n\tname = Nobody\n\temail = nobody@example.org\n"},
    },
)
