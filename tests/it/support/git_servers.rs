//! Real git servers on the loopback interface: OpenSSH's sshd with keys made for the test, and git's own http-backend
//! behind a few lines of Python. They run as whoever runs the tests, and end with the test.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Says that a test runs in the process that [`in_home`] started for it.
const INSIDE: &str = "HPC_CI_TEST_INSIDE";

/// Runs the body of a test in a process of its own with an empty home directory, since libgit2 reads `HOME` once.
/// `test` is the test function itself, by which the process finds it again.
pub(crate) fn in_home<F: Fn()>(test: F, body: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&std::env::home_dir().unwrap());
    }
    let home = TempDir::new().unwrap();
    let output = again(&test).env("HOME", home.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the command that runs a test by itself, with nothing of the caller's git and ssh.
pub(crate) fn again<F: Fn()>(_test: &F) -> Command {
    let name = std::any::type_name::<F>();
    let (_, name) = name.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command.env(INSIDE, "1").env("GIT_CONFIG_NOSYSTEM", "1");
    for variable in [
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
        "http_proxy",
        "SSL_CERT_FILE",
        "https_proxy",
        "GIT_DIR",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command, which must succeed, and returns what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(dir: &Path, words: impl IntoIterator<Item = S>) -> String {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap());
    let output = command
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs git with the words of a line, which must succeed.
pub(crate) fn git(dir: &Path, line: &str) -> String {
    let fixed = [
        "git",
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@example.org",
        "-c",
    ];
    let local = [
        "protocol.file.allow=always",
        "-c",
        "init.defaultBranch=main",
    ];
    run(
        dir,
        fixed
            .into_iter()
            .chain(local)
            .chain(line.split_whitespace()),
    )
}

/// Makes a bare repository with one commit at `path`, and a clone beside it to work in; returns the clone.
pub(crate) fn make_repository(path: &Path, files: &[(&str, &str)]) -> PathBuf {
    let parent = path.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let work = path.with_extension("work");
    std::fs::create_dir_all(&work).unwrap();
    git(&work, "init -q");
    write(&work, files);
    git(&work, "add -A");
    git(&work, "commit -q -m first");
    git(
        parent,
        &format!("clone -q --bare {} {}", work.display(), path.display()),
    );
    // As a forge has it: a repository of its own, which never heard of the clone.
    git(path, "remote remove origin");
    git(&work, &format!("remote add origin {}", path.display()));
    work
}

/// Commits files in a clone and pushes them where `reference` says; returns the commit.
pub(crate) fn push(work: &Path, files: &[(&str, &str)], reference: &str) -> String {
    write(work, files);
    git(work, "add -A");
    git(work, "commit -q --allow-empty -m change");
    git(work, &format!("push -q --force origin HEAD:{reference}"));
    git(work, "rev-parse HEAD")
}

/// Writes files below a directory.
pub(crate) fn write(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
}

fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A process that ends with its owner.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts a server on a free port and waits until it answers; another port is tried if somebody takes this one.
pub(crate) fn serve(mut command: impl FnMut(u16) -> Command) -> Server {
    for _ in 0..5 {
        let port = free_port();
        let child = command(port).stdin(Stdio::null()).spawn().unwrap();
        let mut server = Server { child, port };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20)
            && server.child.try_wait().unwrap().is_none()
        {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    panic!("the server does not start");
}

/// Returns a port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An sshd that lets the keys in its directory run git, and nothing else.
pub(crate) struct Sshd {
    pub(crate) server: Server,
    pub(crate) dir: TempDir,
    pub(crate) user: String,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path();
        for kind in ["ed25519", "ecdsa"] {
            make_key(&path.join(format!("host_{kind}")), kind, "");
        }
        write_program(
            &path.join("git-only"),
            "#!/bin/sh\nPATH=/usr/local/bin:/usr/bin:/bin\nexec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n",
        );
        write(path, &[("authorized_keys", "")]);
        let config = |port: u16| {
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\n\
                 AuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\nUsePAM no\n\
                 PermitRootLogin forced-commands-only\nPasswordAuthentication no\nMaxStartups 100\n",
                path.display()
            )
        };
        // Debian's sshd asks for this directory when it is started as root.
        std::fs::create_dir_all("/run/sshd").ok();
        let server = serve(|port| {
            let file = path.join("sshd_config");
            std::fs::write(&file, config(port)).unwrap();
            let mut command = Command::new("/usr/sbin/sshd");
            command.arg("-D").arg("-e").arg("-f").arg(file);
            command.stderr(Stdio::null());
            command
        });
        let user = run(path, ["id", "-un"]);
        Self { server, dir, user }
    }

    /// Makes a key that is let in.
    pub(crate) fn make_key(&self, path: &Path, passphrase: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        make_key(path, "ed25519", passphrase);
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let list = self.dir.path().join("authorized_keys");
        let mut lines = std::fs::read_to_string(&list).unwrap();
        let command = self.dir.path().join("git-only");
        let command = format!("restrict,command=\"{}\" ", command.display());
        lines += &(command + &public);
        std::fs::write(list, lines).unwrap();
    }

    /// Declares the host's keys known in a home directory.
    pub(crate) fn make_known(&self, home: &Path) {
        let scan = run(
            home,
            [
                "ssh-keyscan",
                "-p",
                &self.server.port.to_string(),
                "127.0.0.1",
            ],
        );
        write(home, &[(".ssh/known_hosts", &format!("{scan}\n"))]);
    }

    pub(crate) fn url(&self, path: &Path) -> String {
        format!(
            "ssh://{}@127.0.0.1:{}{}",
            self.user,
            self.server.port,
            path.display()
        )
    }
}

/// Makes an ssh key.
pub(crate) fn make_key(path: &Path, kind: &str, passphrase: &str) {
    let file = path.to_str().unwrap();
    let dir = path.parent().unwrap();
    run(
        dir,
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", file],
    );
}

/// A web server with git's http-backend for the repositories below a directory. The first part of a path says how it
/// behaves: see `HTTP`.
pub(crate) struct Http {
    pub(crate) server: Server,
    log: PathBuf,
    scheme: &'static str,
    _dir: TempDir,
}

/// The token that the web server takes.
pub(crate) const TOKEN: &str = "s3cr3t-t0ken";

const HTTP: &str = r#"
import base64, http.server, os, ssl, subprocess, sys, time
port, root, log, certificate = int(sys.argv[1]), *sys.argv[2:5]
token = os.environ.pop("TOKEN")

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def plain(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            out = b""
            while size := int(self.rfile.readline(), 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self):
        body = self.body()
        kind, _, rest = self.path.lstrip("/").partition("/")
        password = ""
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic "):
            password = base64.b64decode(given[6:]).decode()
        with open(log, "a") as file:
            file.write(f"{self.headers.get('Host')} {self.command} {self.path} {password}\n")
        if kind == "private" and password.partition(":")[2] != token:
            return self.plain(401, ("WWW-Authenticate", 'Basic realm="git"'))
        if kind == "forbidden":
            return self.plain(403)
        if kind == "moved":
            return self.plain(302, ("Location", f"/open/{rest}"))
        if kind == "away":
            return self.plain(302, ("Location", f"http://localhost:{port}/open/{rest}"))
        if kind == "silent":
            time.sleep(600)
        path, _, query = rest.partition("?")
        env = dict(os.environ, GIT_PROJECT_ROOT=root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO="/" + path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_USER="test",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""))
        if self.headers.get("Content-Encoding"):
            env["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
        out = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = [int(value.split()[0]) for name, value in headers if name == "Status"]
        self.send_response((status or [200])[0])
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

impl Http {
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_with(root, "http", "")
    }

    /// Starts it with TLS; the certificate (for 127.0.0.1) is its own authority.
    pub(crate) fn start_tls(root: &Path, certificate: &Path) -> Self {
        let file = certificate.to_str().unwrap();
        let line = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
             -addext subjectAltName=IP:127.0.0.1 -keyout {file} -out {file}.pem"
        );
        run(root, line.split_whitespace());
        let both = std::fs::read_to_string(file).unwrap()
            + &std::fs::read_to_string(format!("{file}.pem")).unwrap();
        std::fs::write(file, both).unwrap();
        Self::start_with(root, "https", file)
    }

    fn start_with(root: &Path, scheme: &'static str, certificate: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let script = dir.path().join("server.py");
        std::fs::write(&script, HTTP).unwrap();
        let log = dir.path().join("log");
        let server = serve(|port| {
            let mut command = Command::new("python3");
            command
                .arg(&script)
                .arg(port.to_string())
                .arg(root)
                .arg(&log);
            // On the command line everybody could read it.
            command
                .arg(certificate)
                .env("TOKEN", TOKEN)
                .env("HOME", dir.path());
            command
        });
        Self {
            server,
            log,
            scheme,
            _dir: dir,
        }
    }

    /// Returns the address of a repository; `kind` is the way in which the server behaves.
    pub(crate) fn url(&self, kind: &str, repository: &str) -> String {
        format!(
            "{}://127.0.0.1:{}/{kind}/{repository}",
            self.scheme, self.server.port
        )
    }

    /// Returns what was asked so far: host, method, path, user and password of every request.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Listens and never answers.
pub(crate) fn silent_listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
