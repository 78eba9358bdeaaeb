"""Fakes of what Colab and Kaggle put beside a notebook: modules, environment variables, classes of errors with their own words."""

import sys
import types

from alif_kit.platforms import machine


class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


class TimeoutException(Exception):
    pass


class MessageError(Exception):
    pass


class BackendError(Exception):
    pass


class CredentialError(Exception):
    pass


def colab(monkeypatch, drive_folder):
    """google.colab with `userdata` and `drive`. Set `error` (secrets), `drive_error`; `asked` has the calls of drive.mount."""
    fake = types.SimpleNamespace(values={}, error=None, drive_error=None, asked=[], module=types.ModuleType("google.colab"))

    def get(name):
        if fake.error:
            raise fake.error
        if name not in fake.values:
            raise SecretNotFoundError(f"Secret {name} does not exist.")
        return fake.values[name]

    def mount(place, force_remount=False):
        fake.asked.append((place, force_remount))
        if fake.drive_error:
            raise fake.drive_error
        drive_folder.mkdir(parents=True)

    fake.module.userdata = types.SimpleNamespace(get=get)
    fake.module.drive = types.SimpleNamespace(mount=mount)
    fake.module.__spec__ = types.SimpleNamespace(name="google.colab")
    monkeypatch.setitem(sys.modules, "google.colab", fake.module)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    monkeypatch.setattr(machine, "DRIVE", drive_folder)
    return fake


def kaggle(monkeypatch, working):
    """Kaggle's variables and `kaggle_secrets`, with the COLAB_* variables that its image exports."""
    fake = types.SimpleNamespace(values={}, error=None)

    class UserSecretsClient:
        def get_secret(self, name):
            if fake.error:
                raise fake.error
            if name not in fake.values:
                raise BackendError("Unexpected response from the service. Response: {'wasSuccessful': False}.")
            return fake.values[name]

    module = types.ModuleType("kaggle_secrets")
    module.UserSecretsClient = UserSecretsClient
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    monkeypatch.setattr(machine, "KAGGLE_WORKING", working)
    monkeypatch.setattr(machine, "has_internet", lambda: True)
    return fake
