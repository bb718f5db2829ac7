"""Django's settings and ours. Every value that an operator may change is read through `env`."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.templatetags.static import static

from billing import events
from mcp import targets
from opscenter import env, identity, logs
from opscenter.api_docs import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("OPSCENTER_VAR_DIR", str(BASE_DIR / "var")))

SECRET_KEY = env.secret("OPSCENTER_SECRET_KEY")
# Keys are stored as HMAC-SHA256 under this pepper, so that a stolen table opens nothing.
KEY_PEPPER = env.secret("OPSCENTER_KEY_PEPPER")
# Stored credentials are encrypted under the first; the others still decrypt, until all is resealed.
ENCRYPTION_KEYS = env.secrets("OPSCENTER_ENCRYPTION_KEYS")
DEBUG = env.flag("OPSCENTER_DEBUG", False)

# Where the server listens (the seed's port) and how people reach it from outside.
HOST = env.text("OPSCENTER_HOST", "127.0.0.1")
PORT = env.whole("OPSCENTER_PORT", 8084, most=65535)
WORKERS = env.whole("OPSCENTER_WORKERS", 1, most=64)
EXTERNAL_API_URL = env.url("EXTERNAL_API_URL", f"http://127.0.0.1:{PORT}")
_external = urlsplit(EXTERNAL_API_URL)
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    f"[{_external.hostname}]" if ":" in str(_external.hostname) else str(_external.hostname),
    *env.words("OPSCENTER_ALLOWED_HOSTS", []),
]
CSRF_TRUSTED_ORIGINS = [
    f"{_external.scheme}://{_external.netloc}",
    *env.words("OPSCENTER_CSRF_TRUSTED_ORIGINS", []),
]

# Neighbours.
BRIGADE_URL = env.url("BRIGADE_URL")
LITELLM_URL = env.url("LITELLM_URL")
OLLAMA_HOST = env.text("OLLAMA_HOST")  # as Ollama's own clients read it: host:port is enough
ANTHROPIC_PROXY_ENABLED = env.flag("ANTHROPIC_PROXY_ENABLED", True)

# Plans, limits and billing.
DEFAULT_PLAN = env.text("OPSCENTER_DEFAULT_PLAN", "free")  # of organizations without a subscription
BILLING_FAIL_CLOSED = env.flag("OPSCENTER_BILLING_FAIL_CLOSED", False)
REDIS_URL = env.address("OPSCENTER_REDIS_URL", scheme="redis")
LAGO_API_URL = env.url("LAGO_API_URL")
LAGO_API_KEY = env.text("LAGO_API_KEY")
LAGO_WEBHOOK_SECRET = env.secret_or_none("LAGO_WEBHOOK_SECRET")
LAGO_EVENT_CODE = env.text("LAGO_EVENT_CODE", "ai_api_call")
LAGO_EVENT_PROPERTIES = env.checked("LAGO_EVENT_PROPERTIES", list(events.DEFAULT), events.fields)
# MCP servers that the gateway reaches itself: what of them may be private and without TLS.
# Whether the gateway itself calls MCP servers that users name by a URL.
MCP_HTTP = env.flag("OPSCENTER_MCP_HTTP", True)
MCP_HTTP_ALLOW = env.checked("OPSCENTER_MCP_HTTP_ALLOW", [], targets.allowed)
# Proxies in front of us whose word on where a request comes from is believed.
TRUSTED_PROXIES = env.whole("OPSCENTER_TRUSTED_PROXIES", 0, least=0, most=10)
# What may go wrong before somebody has to wait. The other rates stand in accounts/rates.py.
FAILED_AUTH_PER_MINUTE = env.whole("OPSCENTER_FAILED_AUTH_PER_MINUTE", 60)
LOGIN_PER_ADDRESS_PER_5_MINUTES = env.whole("OPSCENTER_LOGIN_PER_ADDRESS_PER_5_MINUTES", 10)
LOGIN_PER_NAME_PER_HOUR = env.whole("OPSCENTER_LOGIN_PER_NAME_PER_HOUR", 20)

# Bounds of a request to /v1. Anthropic's own limit is 32 MB; Claude Code sends about 150 KB.
BODY_MAX_BYTES = env.whole("OPSCENTER_BODY_MAX_BYTES", 32 * 1024 * 1024)
HEAD_S = env.seconds("OPSCENTER_HEAD_S", 15)  # a whole head, and a new connection's first byte
SEND_S = env.seconds("OPSCENTER_SEND_S", 30)  # an answer of which its client takes next to nothing
BODY_IDLE_S = env.seconds("OPSCENTER_BODY_IDLE_S", 10)  # silence in the middle of a body
BODY_TOTAL_S = env.seconds("OPSCENTER_BODY_TOTAL_S", 300)  # the whole body, on a slow line
# Bounds of an upstream call. Claude Code waits 360 s for headers and 300 s in a silent stream.
UPSTREAM_CONNECT_S = env.seconds("OPSCENTER_UPSTREAM_CONNECT_S", 10)
UPSTREAM_ANSWER_S = env.seconds(
    "OPSCENTER_UPSTREAM_ANSWER_S", 300
)  # from the request to the headers
UPSTREAM_IDLE_S = env.seconds(
    "OPSCENTER_UPSTREAM_IDLE_S", 280
)  # no byte in a stream, not even a ping
UPSTREAM_PINGS_S = env.seconds(
    "OPSCENTER_UPSTREAM_PINGS_S", 600
)  # nothing but pings in a stream; Claude Code itself gives up about then
UPSTREAM_ATTEMPTS = env.whole("OPSCENTER_UPSTREAM_ATTEMPTS", 4, most=20)  # for each request
UPSTREAM_CONNECTIONS = env.whole("OPSCENTER_UPSTREAM_CONNECTIONS", 1000)  # open at once, per worker
PING_S = env.seconds("OPSCENTER_PING_S", 15)  # proxies cut silence at about 100 s
# What is under way gets this long at a stop. Kubernetes kills after 30 s; Docker must be told to.
DRAIN_S = env.whole("OPSCENTER_DRAIN_S", 25, most=600)
DRAIN_DELAY_S = env.whole("OPSCENTER_DRAIN_DELAY_S", 0, least=0, most=600)
# A client that has lost its answer comes back within seconds; until then nothing of it is stopped.
LINGER_S = env.seconds("OPSCENTER_LINGER_S", 10)
# Keys and routes live in memory this long, so a revocation holds on every worker within 5 s.
MEMORY_TTL_S = env.seconds("OPSCENTER_MEMORY_TTL_S", 4)
# Agents that name no model ask for this one.
AGENT_MODEL = env.text("OPSCENTER_AGENT_MODEL", "claude-sonnet-5-5")
# Asked what a request is about where the rules only guess; empty: nobody is.
INTENT_MODEL = env.text("OPSCENTER_INTENT_MODEL")
INTENT_S = env.seconds("OPSCENTER_INTENT_S", 2)  # the human waits
# A machine that is silent for so long loses its calls. Short finds dead ones, long forgives lines.
MCP_LEASE_S = env.seconds("OPSCENTER_MCP_LEASE_S", 15)
MCP_APPROVAL_S = env.seconds("OPSCENTER_MCP_APPROVAL_S", 300)
# Rows of the ledger; 0: for ever. Lago is compared with the last 31 days.
KEEP_DAYS = env.retention("OPSCENTER_KEEP_DAYS", least=35)
MCP_KEEP_DAYS = env.whole("OPSCENTER_MCP_KEEP_DAYS", 7, most=3650)

# Upstream credentials may stay in the environment; a row then only names the variable.
READ_CREDENTIAL = env.credential
OWN_PREFIXES = env.OWN_PREFIXES

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "servestatic",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "opscenter",
    "accounts",
    "billing",
    "mcp",
    "proxy",
]

if DEBUG:
    # It gives `runserver` its ASGI server. People are served by uvicorn, without its 15 MiB.
    INSTALLED_APPS.insert(0, "daphne")

# For the admin and the REST pages. `/v1` runs on opscenter/lean.py, without any of these.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "opscenter.nonsense.Nonsense",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if identity.IS_ON:
    MIDDLEWARE.insert(
        MIDDLEWARE.index("django.contrib.messages.middleware.MessageMiddleware"),
        "accounts.oidc.Renewal",
    )

ROOT_URLCONF = "opscenter.urls"
ASGI_APPLICATION = "opscenter.asgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, Any] = {
    "default": env.database("OPSCENTER_DATABASE_URL", f"sqlite:///{VAR_DIR / 'opscenter.sqlite3'}")
}
# A pooler that shares connections between transactions may not know what was planned in them.
DATABASE_PREPARED = env.flag("OPSCENTER_DATABASE_PREPARED", True)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # WAL lets pages read while the writer writes; IMMEDIATE takes the lock at the start, where
        # waiting for it works, and not in the middle, where SQLite fails at once.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    # A file, not memory: the writer's thread and the server under test read the same one.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
CACHES: dict[str, Any] = {
    # Requests per minute are counted here: in Redis for all processes, else for each by itself.
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        # Every request waits for it, so it is given up soon; the limits per day are in the tables.
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
    }
    if REDIS_URL
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 200_000},  # beyond it some are forgotten: about 50 MB
    }
}
# The bells of mcp/bell.py. A bell that is not heard costs a second, so losing one is allowed.
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        # By publish and subscribe: the layer that keeps messages costs a call twice as much.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "opscenter"},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1000}}
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that vanished without a word is noticed within half a minute: by the keepalives of a
    # connection that is idle, and where something was sent, by its not being acknowledged. One that
    # takes a connection and says nothing, as a pool without room does, is given up sooner.
    _patience = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5}
    _patience |= {"keepalives_count": 3, "tcp_user_timeout": 25_000}
    # From its second run on in a connection, a statement of accounts/planned.py is planned.
    _patience |= {"prepare_threshold": 1}
    DATABASES["default"]["OPTIONS"] = _patience | DATABASES["default"].get("OPTIONS", {})

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True  # the packages' own files, found where they lie; nothing to collect
LANGUAGE_CODE = "en"
USE_I18N = False  # one language
FORMAT_MODULE_PATH = "opscenter.formats"
TIME_ZONE = "UTC"
USE_TZ = True

LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/admin/"
globals().update(identity.settings(EXTERNAL_API_URL))  # AUTHENTICATION_BACKENDS and OIDC_…

SESSION_COOKIE_AGE = 8 * 60 * 60  # as accounts/signin.py bounds a session from its beginning
SESSION_COOKIE_SAMESITE = "Lax"
# TLS ends at the proxy, and with it what `check --deploy` asks of us: HSTS and the way from http.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
SECURE_COOKIES = EXTERNAL_API_URL.startswith("https://")
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.rest.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}

# Without it, who asks from this host itself may read /metrics, and nobody else.
METRICS_TOKEN = env.secret_or_none("OPSCENTER_METRICS_TOKEN")
# Where several workers of one server keep their counters together; `serve` makes it.
METRICS_FOLDER = env.text("PROMETHEUS_MULTIPROC_DIR")

# An OpenTelemetry collector that is told of requests and tool calls; empty: nobody is.
OTLP_URL = env.url("OPSCENTER_OTLP_URL")

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = logs.configured(
    env.choice("OPSCENTER_LOG_LEVEL", "INFO", LOG_LEVELS),
    env.choice("OPSCENTER_LOG_FORMAT", "TEXT", logs.FORMS),
)

UNFOLD = {
    "LOGIN": {"form": "accounts.signin.SignInForm"},
    "SITE_TITLE": "Ops-Center",
    "SITE_HEADER": "Ops-Center",
    "SITE_SYMBOL": "hub",
    "STYLES": [lambda request: static("opscenter/admin.css")],
    "DASHBOARD_CALLBACK": "opscenter.dashboard.page.context",
    "SIDEBAR": {"navigation": "opscenter.navigation.sidebar"},
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("opscenter/icon.svg"),
        }
    ],
}
