//! The addresses at which parts in containers reach each other by name.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::diagnostic::Diagnostics;
use crate::document::Node;
use crate::names::{ServiceName, is_address_of_part};
use crate::path;
use crate::source::part;

const ADDRESS: &str = "address";

/// Finds the addresses of those parts that listen on a port in a container or pod, by the parts' names. `parts` are the
/// documents of all parts with their drop-ins, `document` is that of the group.
///
/// # Errors
/// Declared addresses that no part can have, or that this part has no use for.
pub(crate) fn all(document: &Node, parts: &[(ServiceName, Node)]) -> Result<BTreeMap<String, Ipv4Addr>, Diagnostics> {
    let (mut addresses, mut errors) = (BTreeMap::new(), Diagnostics::default());
    for (name, part) in parts {
        let Some((_, own_name)) = name.split_part() else { continue };
        let at = path![part::KEY, part::position(document, name), ADDRESS];
        let declared = document.get(&at);
        if !listens_on_port(part) {
            let remedy = "remove it, or write port = 8080 in its [part.container] or [part.pod]";
            let error = |_| document.key_error(&at, "the part listens on no port of a container", remedy);
            errors.0.extend(declared.map(error));
            continue;
        }
        let address = declared.map(|node| node.text().and_then(|text| text.parse().ok()));
        match address {
            None => drop(addresses.insert(own_name.to_owned(), name.address())),
            Some(Some(address)) if is_address_of_part(address) => drop(addresses.insert(own_name.to_owned(), address)),
            Some(_) => {
                let remedy = "write one of \"169.254.64.0\" to \"169.254.159.255\" or \"169.254.192.0\" to \
                              \"169.254.254.255\"";
                errors.0.push(document.error(&at, "a part cannot have this address", remedy));
            }
        }
    }
    errors.into_result().map(|()| addresses)
}

/// Returns whether a part has a container or pod that listens on a TCP port of its own.
fn listens_on_port(part: &Node) -> bool {
    let has_port = ["container", "pod"].iter().any(|engine| part.get(&path![*engine, "port"]).is_some());
    let kind = part.get(&path!["listen", "type"]).and_then(Node::text);
    has_port && kind.is_none_or(|kind| kind == "tcp")
}
