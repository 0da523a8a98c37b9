import os
from pathlib import Path

SECRET_KEY = Path(os.environ["CREDENTIALS_DIRECTORY"], "key").read_text()
ALLOWED_HOSTS = ["*"]  # the proxy sends only what its route is for
INSTALLED_APPS = ["guestbook"]
ROOT_URLCONF = "guestbook.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
        "OPTIONS": {"timeout": 20},  # seconds that a writer waits for others
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
