#!/usr/bin/python3
import os
from mercurial import demandimport
demandimport.enable()
from mercurial.hgweb import hgweb, wsgicgi
wsgicgi.launch(hgweb(os.path.join(os.path.dirname(os.path.abspath(__file__)), "hgweb.config").encode()))
