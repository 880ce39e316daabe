//! Ids are ULIDs in the database and UUIDs on the wire: the same 128 bits, in the form that clients of
//! Heroku's API expect.

use sha2::{Digest, Sha256};
use ulid::Ulid;
use uuid::Uuid;

/// As clients see it.
pub(crate) fn public(id: &str) -> String {
    let bits = Ulid::from_string(id).map_or(0, u128::from);
    Uuid::from_u128(bits).to_string()
}

/// What a client sent, as the database has it: a UUID, or the ULID itself, which `openruko admin` shows.
pub(super) fn internal(raw: &str) -> Option<String> {
    if let Ok(uuid) = Uuid::try_parse(raw) {
        return Some(Ulid::from(uuid.as_u128()).to_string());
    }
    Ulid::from_string(raw).ok().map(|id| id.to_string())
}

/// Of things that have a name alone, such as stacks: always the same for the same name.
pub(super) fn of_name(kind: &str, name: &str) -> String {
    uuid_of_name(kind, name).to_string()
}

/// The same as the database has it.
pub(super) fn internal_of_name(kind: &str, name: &str) -> String {
    Ulid::from(uuid_of_name(kind, name).as_u128()).to_string()
}

fn uuid_of_name(kind: &str, name: &str) -> Uuid {
    let digest = Sha256::digest(format!("{kind}/{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A new one, as clients see it.
pub(super) fn new() -> String {
    Uuid::from_u128(Ulid::generate().into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_thing() {
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let shown = public(id);
        assert_eq!(shown.len(), 36);
        assert_eq!(internal(&shown).as_deref(), Some(id));
        assert_eq!(internal(id).as_deref(), Some(id));
        assert_eq!(internal("my-app"), None);
        assert_eq!(public(&internal_of_name("stack", "a")), of_name("stack", "a"));
    }
}
