"""The reactor of the tests is the reactor of the daemons, installed before pytest-twisted looks for one."""

from lsproxy.net import reactor

reactor.install()
