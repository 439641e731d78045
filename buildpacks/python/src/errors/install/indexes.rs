//! Words about indexes that can't be reached, refuse, or answer with something else.

use super::super::known::{Known, named, plain};

/// What may be told from one status or one cause; the order matters.
pub(super) const TABLE: &[Known] = &[
    named(
        &[&["Failed to read `--find-links` directory: "]],
        &[("Failed to read `--find-links` directory: ", "\n")],
        "The folder of packages {} is not there",
        "--find-links, PIP_FIND_LINKS or UV_FIND_LINKS names it. In a build only the app's folder is there: put the packages into it \
         and give\nthe path relative to the app's root.",
    ),
    plain(
        &[
            &["407 Proxy Authentication Required"],
            &["Tunnel connection failed: 407"],
        ],
        "The proxy refused access",
        "The proxy wants a name and a password: -e HTTPS_PROXY=http://NAME:PASSWORD@proxy.example:3128",
    ),
    plain(
        &[
            &["tunnel error"],
            &["ProxyError"],
            &["Cannot connect to proxy"],
            &["Unable to connect to proxy"],
        ],
        "The proxy could not be used",
        "HTTPS_PROXY or HTTP_PROXY names a proxy that could not be reached or did not let the connection through. Correct it, or \
         unset it for\nthe build; NO_PROXY lists hosts that need none.",
    ),
    plain(
        &[
            &["401 Unauthorized"],
            &["403 Forbidden"],
            &["401 Client Error"],
            &["403 Client Error"],
            &["status code 401"],
            &["status code 403"],
            &["HTTP error 401 while getting"],
            &["HTTP error 403 while getting"],
            &["Authorization error accessing"],
        ],
        "The package index refused access",
        "The index wants a name and a password or token, or refused those it got. Pass them to the build:\n    \
         -e PIP_INDEX_URL=https://NAME:TOKEN@index.example/simple\n\
         They are used during the build only, and appear neither in the image nor in its log.",
    ),
    plain(
        &[
            &["429 Too Many Requests"],
            &["HTTP error 429"],
            &["429 Client Error"],
        ],
        "The package index asks to wait",
        "It got too many requests from this address in a short time (429). Wait some minutes and build again; what was fetched is \
         kept. If\nmany machines share the address, let them use a mirror: -e PIP_INDEX_URL=...",
    ),
    plain(
        &[
            &["500 Internal Server Error"],
            &["502 Bad Gateway"],
            &["503 Service Unavailable"],
            &["504 Gateway"],
            &["HTTP error 500"],
            &["HTTP error 502"],
            &["HTTP error 503"],
            &["HTTP error 504"],
            &["too many 503 error responses"],
            &["too many 502 error responses"],
            &["too many 500 error responses"],
        ],
        "The package index is in trouble",
        "It answered with an error of its own (5xx). Build again in some minutes; what was fetched is kept. Its status page, or that \
         of\nyour mirror, may say more.",
    ),
    plain(
        &[
            &["InvalidContentType"],
            &["WRONG_VERSION_NUMBER"],
            &["wrong version number"],
        ],
        "The package index does not speak TLS",
        "Its address begins with https://, but what answers on that port speaks plain HTTP. Correct the address in PIP_INDEX_URL, or \
         the\nport.",
    ),
    plain(
        &[
            &["UnknownIssuer"],
            &["CERTIFICATE_VERIFY_FAILED"],
            &["invalid peer certificate"],
        ],
        "The package index shows a certificate that is not trusted",
        "The authority behind it is not among those that this build trusts; a proxy that reads TLS, or an index of your own, \
         has\none. Name a file with its certificate (PEM) that the build can read:\n    \
         -e PIP_CERT=/workspace/ca.pem\n\
         If the certificate has expired, renew it; the machine's clock may be wrong as well.",
    ),
    named(
        &[&["is not a trusted or secure host"]],
        &[("The repository located at ", " is not a trusted")],
        "The package index at {} is reached without TLS",
        "pip takes packages by plain http from this machine only. Use the index's https address, or say that you trust the host:\n    \
         -e PIP_TRUSTED_HOST={}",
    ),
    plain(
        &[
            &["seems invalid, please provide a scheme"],
            &["lacks a specific scheme"],
            &["relative URL without a base"],
        ],
        "The address of the package index is not whole",
        "It has to begin with https:// and usually ends with /simple:\n    \
         -e PIP_INDEX_URL=https://index.example/simple",
    ),
    plain(
        &[
            &["Unsupported `Content-Type`"],
            &["The only supported Content-Types are"],
            &["Received some unexpected HTML"],
        ],
        "The address of the package index leads to something else",
        "What answers is no package index: a page for people, or a file. The address usually ends with /simple, not with the path of \
         a web\npage. Correct PIP_INDEX_URL.",
    ),
    plain(
        &[
            &["operation timed out"],
            &["network timeout"],
            &["ReadTimeoutError"],
            &["Read timed out"],
            &["ConnectTimeoutError"],
        ],
        "The package index took too long to answer",
        "The network or the index is slow. Build again (what was fetched is kept), or let the installer wait longer, in seconds:\n    \
         -e PIP_DEFAULT_TIMEOUT=120",
    ),
    plain(
        &[
            &["dns error"],
            &["Temporary failure in name resolution"],
            &["Name or service not known"],
            &["Failed to resolve"],
            &["NameResolutionError"],
        ],
        "The name of the package index could not be found",
        "No address belongs to the host in the message above: its name is misspelt, or this machine has no network or no working \
         DNS.\nCheck PIP_INDEX_URL; behind a proxy, set HTTPS_PROXY.",
    ),
    plain(
        &[
            &["error sending request"],
            &["Could not connect"],
            &["Failed to establish a new connection"],
            &["NewConnectionError"],
            &["Max retries exceeded"],
            &["All attempts to connect to"],
            &["Connection refused"],
            &["Connection reset by peer"],
        ],
        "The package index could not be reached",
        "If the network was down for a moment, build again. If packages come from an index or a mirror of your own, \
         set\nPIP_INDEX_URL (-e PIP_INDEX_URL=...); behind a proxy, set HTTPS_PROXY.",
    ),
];

/// What the index has and does not give; after everything about the network.
pub(super) const FILES: &[Known] = &[
    named(
        &[
            &["404 Client Error"],
            &["HTTP error 404"],
            &["404 Not Found"],
            &["410 Gone"],
        ],
        &[
            ("Failed to fetch: ", "\n"),
            ("while getting ", " (from"),
            ("while getting ", "\n"),
        ],
        "A package's file is not there any more",
        "{}\ncould not be found (404). If the requirement names the address, correct it; if the index does, it is out of step with \
         its\nfiles: build again later, or ask for another version.",
    ),
    plain(
        &[&["were yanked"], &["Ignored the following yanked versions"]],
        "Only withdrawn (yanked) versions fit",
        "The authors of the package took back all versions that the requirement allows (the reason is above, if they gave one). \
         Allow a\nnewer version. Whoever must have a withdrawn one asks for it alone: NAME==1.2.3",
    ),
    plain(
        &[
            &["Pre-releases are available for"],
            &["pre-releases weren't enabled"],
        ],
        "Only pre-releases fit",
        "There are alpha, beta or release candidate versions in the range asked for, and no final one. Ask for one of them \
         (NAME==2.0b1), or\nallow them all: -e PIP_PRE=1",
    ),
    named(
        &[&["A compatible version may be available on a subsequent index"]],
        &[("hint: `", "`")],
        "{} is on several indexes, and the first one does not have that version",
        "uv takes a package from the first index that knows it, so that nobody can slip in a package of the same name. Ask for a \
         version\nthat this index has, or let the best version of all indexes count, if you trust them all:\n    \
         -e UV_INDEX_STRATEGY=unsafe-best-match",
    ),
    named(
        &[&["references an undeclared index"]],
        &[("references an undeclared index: `", "`")],
        "There is no index named {}",
        "[tool.uv.sources] in pyproject.toml takes a package from the index {}, which no [[tool.uv.index]] describes. Add it:\n    \
         [[tool.uv.index]]\n    name = \"{}\"\n    url = \"https://index.example/simple\"",
    ),
    named(
        &[&["Because there are no versions of "]],
        &[("Because there are no versions of ", " ")],
        "The index has no file of {}",
        "The index answers for {}, but with an empty list. If the index is your own, its address may lead to a page for people (a \
         login)\ninstead of the list; it usually ends with /simple.",
    ),
];
