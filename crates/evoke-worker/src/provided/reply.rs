//! What the runtime API answers, in AWS Lambda's own words.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// The end of a request that posted something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// 202.
    Accepted,
    /// It is not taken.
    Refused {
        status: StatusCode,
        /// `errorType`.
        ty: &'static str,
        /// `errorMessage`.
        message: String,
    },
}

impl Reply {
    /// The id is not that of the invocation under way.
    pub(super) fn wrong_id(id: &str) -> Self {
        let id: String = id.chars().take(80).collect();
        Self::Refused {
            status: StatusCode::BAD_REQUEST,
            ty: "InvalidRequestID",
            message: format!("invocation {id:?} is not under way"),
        }
    }

    /// It comes at the wrong time.
    pub(super) fn wrong_state(message: impl Into<String>) -> Self {
        Self::Refused { status: StatusCode::FORBIDDEN, ty: "InvalidStateTransition", message: message.into() }
    }

    /// More bytes than allowed.
    pub(super) fn too_large(limit_bytes: u64) -> Self {
        Self::Refused {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ty: "RequestEntityTooLarge",
            message: format!("the body is larger than the limit of {limit_bytes} bytes"),
        }
    }

    /// No such operation.
    pub(super) fn not_found(method: &http::Method, path: &str) -> Self {
        let path: String = path.chars().take(200).collect();
        Self::Refused {
            status: StatusCode::NOT_FOUND,
            ty: "NotFound",
            message: format!("{method} {path} is no operation of the runtime API"),
        }
    }

    /// The instance is being ended.
    pub(super) fn gone() -> Self {
        Self::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ty: "Unavailable",
            message: "nobody answers any more: the instance is being ended".to_owned(),
        }
    }

    /// As HTTP.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let (status, body) = match self {
            Self::Accepted => (StatusCode::ACCEPTED, Bytes::from_static(br#"{"status":"OK"}"#)),
            Self::Refused { status, ty, message } => {
                let body = serde_json::json!({ "errorMessage": message, "errorType": ty });
                (status, Bytes::from(body.to_string()))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
