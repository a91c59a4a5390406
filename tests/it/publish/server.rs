//! An HTTP server in a thread: it notes every request, lets a handler answer, and misbehaves on demand.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `POST /path`, without query.
    pub(crate) fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap();
        format!("{} {path}", self.method)
    }
}

/// What a server answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a server misbehaves, once.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answers this.
    Says(Reply),
    /// Closes the connection without a word.
    Drops,
    /// Says nothing for longer than anybody waits.
    Hangs,
    /// Does what was asked, and closes the connection without a word.
    DoesAndDrops,
    /// Does what was asked, and then says nothing.
    DoesAndHangs,
}

impl Fault {
    pub(crate) fn status(status: u16) -> Self {
        Self::Says(Reply {
            status,
            headers: Vec::new(),
            body: format!("status {status}"),
        })
    }
}

type Handler = dyn FnMut(&Request, &str) -> Reply + Send;

/// A server that lives as long as the test.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    faults: Arc<Mutex<VecDeque<(&'static str, Fault)>>>,
}

impl Server {
    /// Starts a server; the handler gets each request and the server's own address.
    pub(crate) fn start(handler: impl FnMut(&Request, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            faults: Arc::default(),
        };
        let handler: Arc<Mutex<Box<Handler>>> = Arc::new(Mutex::new(Box::new(handler)));
        let (requests, faults) = (Arc::clone(&server.requests), Arc::clone(&server.faults));
        let url = server.url();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                let (faults, url) = (Arc::clone(&faults), url.clone());
                std::thread::spawn(move || {
                    serve(&stream.unwrap(), &url, &handler, &requests, &faults);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Misbehaves at the next request of this method.
    pub(crate) fn fault(&self, method: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((method, fault));
    }

    /// Returns the requests so far, and forgets them.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Returns how many requests came in so far.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Returns the requests so far in short, and forgets them.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        self.take().iter().map(Request::line).collect()
    }
}

fn serve(
    stream: &TcpStream,
    url: &str,
    handler: &Mutex<Box<Handler>>,
    requests: &Mutex<Vec<Request>>,
    faults: &Mutex<VecDeque<(&'static str, Fault)>>,
) {
    let Some(request) = read(stream) else { return };
    requests.lock().unwrap().push(request.clone());
    let fault = {
        let mut faults = faults.lock().unwrap();
        let at = faults
            .iter()
            .position(|(method, _)| *method == request.method);
        at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
    };
    let reply = match fault {
        None => handler.lock().unwrap()(&request, url),
        Some(Fault::Says(reply)) => reply,
        Some(Fault::Drops) => return,
        Some(Fault::DoesAndDrops) => {
            handler.lock().unwrap()(&request, url);
            return;
        }
        Some(Fault::DoesAndHangs) => {
            handler.lock().unwrap()(&request, url);
            return std::thread::sleep(Duration::from_mins(10));
        }
        Some(Fault::Hangs) => return std::thread::sleep(Duration::from_mins(10)),
    };
    answer(stream, &reply);
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

fn answer(mut stream: &TcpStream, reply: &Reply) {
    let headers: Vec<String> = reply
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let text = format!(
        "HTTP/1.1 {} X\r\n{}content-length: {}\r\nconnection: close\r\n\r\n{}",
        reply.status,
        headers.concat(),
        reply.body.len(),
        reply.body
    );
    // Whoever asked may have given up.
    stream.write_all(text.as_bytes()).ok();
}
