"""Certificates of the bed: an authority that all servers trust, one that nobody does, and what they sign."""

import os
import subprocess
import tempfile

OPENSSL = ["openssl"]
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments):
    subprocess.run([*OPENSSL, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """Makes NAME.crt and NAME.key in its folder; the names there are what Prosody looks for by itself."""

    def __init__(self, folder, name="ca"):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.name = folder, name
        self.certificate, self.key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        openssl("req", "-x509", *CURVE, "-days", "30", "-keyout", self.key, "-out", self.certificate,
                "-subj", f"/CN=Federation {name}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, file, names, expired=False, xmpp_addr=False):
        """A certificate with these dNSNames, and the SRV-ID of the first (RFC 6120 §13.7.1.2). With its XmppAddr on
        request only: ejabberd 23.01 crashes over each in a client's certificate (badarg in xmpp_stream_pkix)."""
        key, request, made = (self.path(f"{file}.{end}") for end in ("key", "csr", "crt"))
        openssl("req", *CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={names[0]}")
        extensions = ["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth", "subjectAltName=@names",
                      "[names]", *(f"DNS.{at}={name}" for at, name in enumerate(names)),
                      f"otherName.0=1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server.{names[0]}"]
        if xmpp_addr:
            extensions.append(f"otherName.1=1.3.6.1.5.5.7.8.5;UTF8:{names[0]}")
        if expired:
            self.sign_expired(request, made, extensions)
            return made, key
        with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".ext") as file_of_extensions:
            file_of_extensions.write("\n".join(extensions) + "\n")
            file_of_extensions.flush()
            openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                    "-days", "20", "-extfile", file_of_extensions.name, "-out", made)
        os.remove(request)
        return made, key

    def sign_expired(self, request, made, extensions):
        """`openssl x509` takes no dates before version 3.4; `openssl ca` does."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            config = os.path.join(folder, "ca.cnf")
            open(os.path.join(folder, "index"), "w", encoding="ascii").close()
            with open(config, "w", encoding="utf-8") as file:
                file.write("\n".join([
                    "[ca]", "default_ca=it", "[it]", f"database={folder}/index", f"new_certs_dir={folder}",
                    "rand_serial=yes", "default_md=sha256", "policy=any", "x509_extensions=v3",
                    "[any]", "commonName=supplied", "[v3]", *extensions]) + "\n")
            openssl("ca", "-batch", "-config", config, "-in", request, "-cert", self.certificate, "-keyfile",
                    self.key, "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext", "-out", made)
        os.remove(request)

    def own(self, file, names):
        """A certificate that signs itself."""
        key, made = self.path(f"{file}.key"), self.path(f"{file}.crt")
        openssl("req", "-x509", *CURVE, "-days", "20", "-keyout", key, "-out", made, "-subj", f"/CN={names[0]}",
                "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
                "-addext", "basicConstraints=critical,CA:FALSE")
        return made, key
