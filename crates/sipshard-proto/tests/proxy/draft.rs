//! Messages as the endpoints of a test write them.

use crate::scene::Sent;

/// A message before it is put on the wire.
#[derive(Clone)]
pub struct Draft {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Alice's request to Bob, outside a dialog.
pub fn request(method: &str) -> Draft {
    let branch = method.to_ascii_lowercase();
    Draft {
        line: format!("{method} sip:bob@example.com SIP/2.0"),
        headers: Vec::new(),
        body: Vec::new(),
    }
    .with(
        "Via",
        &format!("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-{branch}"),
    )
    .with("Max-Forwards", "70")
    .with("From", "<sip:alice@example.com>;tag=alice")
    .with("To", "<sip:bob@example.com>")
    .with("Call-ID", "call-1")
    .with("CSeq", &format!("1 {method}"))
}

/// Alice's INVITE.
pub fn invite() -> Draft {
    request("INVITE").with("Contact", "<sip:alice@192.0.2.10:5062>")
}

/// The CANCEL of Alice's INVITE: the same Via (§9.1).
pub fn cancel() -> Draft {
    request("CANCEL").instead("Via", "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-invite")
}

/// The ACK to a failure of Alice's INVITE: the same Via (§17.1.1.3).
pub fn ack_to_failure() -> Draft {
    request("ACK")
        .instead("Via", "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-invite")
        .instead("To", "<sip:bob@example.com>;tag=bob")
}

/// A request inside the dialog that `success` made, from Alice's side (§12.2.1.1): the route set is the Record-Route
/// in reverse order, the Request-URI is the Contact.
pub fn in_dialog(method: &str, success: &Sent) -> Draft {
    let contact = success.values("Contact").remove(0);
    let mut draft = request(method)
        .at_uri(contact.trim_matches(['<', '>']))
        .instead("To", &success.values("To").remove(0))
        .instead("CSeq", &format!("2 {method}"));
    for route in success.values("Record-Route").iter().rev() {
        draft = draft.with("Route", route);
    }
    draft
}

/// What Bob answers to a request that has reached him.
pub fn answer(request: &Sent, status: u16) -> Draft {
    let mut draft = Draft {
        line: format!("SIP/2.0 {status} Some Reason"),
        headers: Vec::new(),
        body: Vec::new(),
    };
    for name in ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"] {
        for value in request.values(name) {
            let needs_tag = name == "To" && status > 100 && !value.contains(";tag=");
            let tag = if needs_tag { ";tag=bob" } else { "" };
            draft = draft.with(name, &format!("{value}{tag}"));
        }
    }
    draft.with("Contact", "<sip:bob@192.0.2.20:5060>")
}

impl Draft {
    /// Adds a header field behind the others.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Changes the first header field with this name.
    pub fn instead(mut self, name: &str, value: &str) -> Self {
        let field = self.headers.iter_mut().find(|field| field.0 == name);
        field.expect("the field is there").1 = value.into();
        self
    }

    /// Removes all header fields with this name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|field| field.0 != name);
        self
    }

    /// Changes the Request-URI.
    pub fn at_uri(mut self, uri: &str) -> Self {
        let method = self.line.split(' ').next().unwrap_or_default();
        self.line = format!("{method} {uri} SIP/2.0");
        self
    }

    /// Changes the branch of the topmost Via: another transaction.
    pub fn branch(self, branch: &str) -> Self {
        let via = format!("SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK-{branch}");
        self.instead("Via", &via)
    }

    /// Adds a body.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.into();
        self
    }

    /// The message on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [text.as_bytes(), &self.body].concat()
    }
}
