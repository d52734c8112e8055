"""The shell's proxies, as Java is told of them."""

import pytest

from local_stack.errors import StackError
from local_stack.java_network import argument_file, network_options


def test_without_a_proxy_java_is_told_nothing() -> None:
    assert network_options({"PATH": "/bin", "JAVA_TOOL_OPTIONS": "-agentlib:nothing -Xmx1m"}) == []


def test_both_schemes_and_the_exceptions_are_handed_on() -> None:
    options = network_options(
        {"http_proxy": "http://a:3128", "HTTPS_PROXY": "b:8080", "no_proxy": ".corp,x.org"}
    )
    assert options == [
        "-Dhttp.proxyHost=a",
        "-Dhttp.proxyPort=3128",
        "-Dhttps.proxyHost=b",
        "-Dhttps.proxyPort=8080",
        "-Dhttp.nonProxyHosts=*.corp|x.org|127.0.0.1|localhost|::1",
    ]


def test_a_password_is_handed_on_under_the_names_that_ivy_reads() -> None:
    options = network_options({"https_proxy": "http://me:p%40ss@a:1"})
    assert "-Dhttp.proxyUser=me" in options
    assert "-Dhttp.proxyPassword=p@ss" in options


def test_a_socks_proxy_for_everything() -> None:
    options = network_options({"all_proxy": "socks5h://a"})
    assert options.count("-DsocksProxyHost=a") == 2
    assert "-DsocksProxyPort=1080" in options


def test_trust_that_the_shell_hands_to_every_java_is_kept() -> None:
    variables = {"JAVA_TOOL_OPTIONS": "-Xmx1m '-Djavax.net.ssl.trustStore=/a b'"}
    assert network_options(variables) == ["-Djavax.net.ssl.trustStore=/a b"]


def test_no_proxy_for_all_hosts_means_none() -> None:
    assert network_options({"https_proxy": "http://a:1", "NO_PROXY": "*"}) == []


def test_what_names_no_proxy_is_refused_without_its_password() -> None:
    with pytest.raises(StackError, match="https_proxy is not the address") as refused:
        network_options({"https_proxy": "http://me:secret@:x"})
    assert "secret" not in str(refused.value)


def test_options_are_quoted_as_javas_argument_files_want() -> None:
    assert argument_file(['-Dx=a "b" \\c']) == '"-Dx=a \\"b\\" \\\\c"\n'
