//! A model server asked over HTTP, with a time and a size that no answer may exceed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ureq::Timeout;
use ureq::http::{Response, header};
use ureq::unversioned::resolver::DefaultResolver;

use super::address::{Address, RemoteSettings};
use super::{DESCRIPTION, Failure, Limits, REFUSAL, Wire};
use crate::carrier::Carrier;
use crate::health::RemoteError;
use crate::oip::{self, Answer, Body, Described, Question};
use crate::settings::Tls;
use crate::tls;

/// The header that says where the JSON ends and binary tensors begin.
const JSON_LENGTH: &str = "inference-header-content-length";

pub(super) struct Http {
    agent: ureq::Agent,
    tls: Option<Tls>,
    token: Option<String>,
    /// `http://host:port/prefix`
    base: String,
    model: String,
    /// Tensors travel as bytes: as the card says, or else as the server.
    asked_binary: Option<bool>,
    binary: bool,
}

impl Http {
    /// Reads the files that the card names; nothing is asked yet.
    pub(super) fn new(
        settings: &RemoteSettings,
        address: &Address,
        connect: Duration,
    ) -> Result<Self, String> {
        let token = settings.token_file.as_deref().map(super::token).transpose()?;
        let scheme = if address.scheme.is_encrypted() { "https" } else { "http" };
        let base = format!("{scheme}://{}{}", address.authority, address.prefix);
        let version = address.version.as_ref();
        let version = version.map_or_else(String::new, |version| format!("/versions/{version}"));
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(connect))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .user_agent(concat!("andon/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            .build();
        let agent = match &settings.tls {
            None => config.into(),
            Some(tls) => {
                let client = tls::client_config(tls).map_err(|error| error.to_string())?;
                let (config_of_tls, name) = (Arc::new(client), tls.server_name.clone());
                let carrier = Carrier::Tls { config: config_of_tls, name, keep: true };
                ureq::Agent::with_parts(config, carrier, DefaultResolver::default())
            }
        };
        Ok(Self {
            agent,
            tls: settings.tls.clone(),
            token,
            model: format!("{base}/v2/models/{}{version}", address.model),
            base,
            asked_binary: settings.binary,
            binary: settings.binary.unwrap_or(false),
        })
    }

    fn get(&self, url: &str, end: Instant) -> Result<Vec<u8>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let sent = request.config().timeout_global(Some(left(end)?)).build().call();
        self.read(sent.map_err(|error| self.failure(&error))?, DESCRIPTION)
    }

    fn read(&self, mut response: Response<ureq::Body>, most: u64) -> Result<Vec<u8>, Failure> {
        let status = response.status();
        let most = if status.is_success() { most } else { REFUSAL };
        let body = response.body_mut().with_config().limit(most).read_to_vec();
        if status.is_success() {
            return body.map_err(|error| self.failure(&error));
        }
        let said = body.map_or_else(|_| String::new(), |body| oip::refusal(&body));
        Err(Failure::answered(status.as_u16(), &said))
    }

    fn failure(&self, error: &ureq::Error) -> Failure {
        let of = Failure::new;
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                of(RemoteError::Connect, format!("no connection in time ({error})"))
            }
            ureq::Error::Timeout(_) => of(RemoteError::Timeout, "no answer in time".into()),
            ureq::Error::HostNotFound => of(RemoteError::Connect, "there is no such host".into()),
            ureq::Error::ConnectionFailed | ureq::Error::BadUri(_) => {
                of(RemoteError::Connect, error.to_string())
            }
            ureq::Error::Io(error) => self.lost(error),
            ureq::Error::BodyExceedsLimit(most) => of(
                RemoteError::TooLarge,
                format!("its answer has more than {most} bytes, which no right one has"),
            ),
            ureq::Error::LargeResponseHeader(..) => of(RemoteError::TooLarge, error.to_string()),
            error => of(RemoteError::Malformed, format!("that is no HTTP: {error}")),
        }
    }

    fn lost(&self, error: &io::Error) -> Failure {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
        };
        if let Some(words) = self.tls.as_ref().and_then(|tls| tls::explain(error, tls)) {
            return Failure::new(RemoteError::Connect, words);
        }
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
                Failure::new(RemoteError::Cut, format!("the connection was cut: {error}"))
            }
            TimedOut | WouldBlock => Failure::new(RemoteError::Timeout, "no answer in time".into()),
            _ => Failure::new(RemoteError::Connect, format!("no connection: {error}")),
        }
    }
}

impl Wire for Http {
    fn describe(&mut self, end: Instant) -> Result<Described, Failure> {
        let body = self.get(&self.model, end)?;
        let described = oip::describe(&body).map_err(Failure::malformed)?;
        self.binary = match self.asked_binary {
            Some(binary) => binary,
            // A server that has the model and tells nothing of itself is asked in JSON.
            None => self.get(&format!("{}/v2", self.base), end).is_ok_and(|body| {
                oip::extensions(&body).iter().any(|word| word == "binary_tensor_data")
            }),
        };
        Ok(described)
    }

    fn infer(&mut self, question: &Question, limits: Limits) -> Result<Answer, Failure> {
        let Body { bytes, header } =
            oip::question(question, self.binary).map_err(Failure::malformed)?;
        let mut request = self.agent.post(format!("{}/infer", self.model));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        request = match header {
            Some(length) => request
                .header(JSON_LENGTH, length)
                .header(header::CONTENT_TYPE, "application/octet-stream"),
            None => request.header(header::CONTENT_TYPE, "application/json"),
        };
        let sent = request.config().timeout_global(Some(left(limits.end)?)).build().send(&bytes);
        let response = sent.map_err(|error| self.failure(&error))?;
        let header = response.headers().get(JSON_LENGTH).cloned();
        let body = self.read(response, limits.bytes)?;
        let header = header.map(|length| {
            let number = length.to_str().ok().and_then(|length| length.parse().ok());
            number.ok_or_else(|| {
                let message = format!("Inference-Header-Content-Length is {length:?}, no number");
                Failure::new(RemoteError::Malformed, message)
            })
        });
        oip::read_answer(&body, header.transpose()?).map_err(Failure::malformed)
    }
}

fn left(end: Instant) -> Result<Duration, Failure> {
    let left = end.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(Failure::new(RemoteError::Timeout, "no answer in time".into())),
        false => Ok(left),
    }
}
