# SPDX-License-Identifier: ISC
"""Certificates for tests and throwaway clusters, made with the openssl command.

An Authority is a CA in a folder. Keys are on P-256: making one takes milliseconds. Nothing here is for production.
"""
import os
import subprocess


class Authority:
    """A certificate authority; its certificate is `folder/ca.crt`."""

    def __init__(self, folder, name="pgsteer test CA"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.cert = self._path("ca.crt")
        self._key = self._path("ca.key")
        self._openssl("req", "-x509", *self._new_key(self._key), "-out", self.cert, "-days", "30",
                      "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")

    def issue(self, name, names=("localhost",), addresses=("127.0.0.1",), days=30):
        """A certificate and key for CN=`name`; returns their paths. The key is mode 0600."""
        key, request, cert, extensions = (self._path(name + end) for end in (".key", ".csr", ".crt", ".ext"))
        alternatives = [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses]
        with open(extensions, "w", encoding="utf-8") as f:
            f.write("basicConstraints=CA:FALSE\n")
            if alternatives:
                f.write("subjectAltName=" + ",".join(alternatives) + "\n")
        self._openssl("req", *self._new_key(key), "-out", request, "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial",
                      "-days", str(days), "-extfile", extensions, "-out", cert)
        os.chmod(key, 0o600)
        return cert, key

    def give_to(self, account):
        """Makes `account` (a pwd entry or None) the owner of everything issued so far."""
        if account is not None:
            for entry in [self.folder] + [self._path(f) for f in os.listdir(self.folder)]:
                os.chown(entry, account.pw_uid, account.pw_gid)

    def _path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def _new_key(path):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    @staticmethod
    def _openssl(*args):
        done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {args[0]} failed: {done.stderr}")
