"""An authority of the test's own, and certificates that it signs: made by openssl in the test's directory."""

import subprocess

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """`ca` is the file of what clients trust; issue() gives (certificate, key) as files in PEM."""

    def __init__(self, directory, name="test authority"):
        self.directory, self.name = directory, name
        directory.mkdir(exist_ok=True)
        self.ca, self.key = directory / "ca.pem", directory / "ca-key.pem"
        self.openssl("req", "-x509", *EC, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.ca)
        self.openssl_config()

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def openssl_config(self):
        (self.directory / "index.txt").write_text("")
        (self.directory / "index.txt.attr").write_text("unique_subject = no\n")
        (self.directory / "ca.conf").write_text(
            f"[ca]\ndefault_ca = own\n[own]\ndir = {self.directory}\ndatabase = {self.directory}/index.txt\n"
            f"new_certs_dir = {self.directory}\nrand_serial = yes\ndefault_md = sha256\npolicy = any\n"
            f"copy_extensions = copy\n[any]\ncommonName = supplied\n")

    def issue(self, name, hosts=(), expired=False):
        """A certificate of that common name for these hosts; with expired=True it ended in 2020."""
        request, key, cert = (self.directory / f"{name}{end}" for end in (".csr", "-key.pem", ".pem"))
        names = ["-addext", "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts)] if hosts else []
        self.openssl("req", "-new", *EC, "-subj", f"/CN={name}", *names, "-keyout", key, "-out", request)
        period = ("200101000000Z", "200601000000Z") if expired else ("200101000000Z", "400101000000Z")
        self.openssl("ca", "-batch", "-notext", "-config", self.directory / "ca.conf", "-cert", self.ca,
                     "-keyfile", self.key, "-startdate", period[0], "-enddate", period[1], "-in", request, "-out", cert)
        return cert, key
