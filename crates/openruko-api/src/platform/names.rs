//! Made-up names of apps: `quiet-harbor-1234`.

use ruko_core::AppName;

use crate::errors::{Answer, ApiFault};

const ADJECTIVES: [&str; 48] = [
    "amber", "ancient", "blue", "bold", "brave", "bright", "brisk", "calm", "clear", "cold", "cosmic",
    "crimson", "damp", "dawn", "deep", "dry", "early", "fair", "fierce", "gentle", "golden", "green",
    "hidden", "icy", "late", "light", "lively", "lone", "lucid", "mild", "misty", "mossy", "noble", "pale",
    "proud", "quick", "quiet", "rapid", "salty", "silent", "silver", "sleepy", "snowy", "steady", "still",
    "sunny", "warm", "wild",
];

const NOUNS: [&str; 48] = [
    "anchor", "beach", "birch", "breeze", "bridge", "brook", "canyon", "cliff", "cloud", "coast", "coral",
    "creek", "dune", "falls", "fern", "field", "fjord", "forest", "garden", "glade", "grove", "harbor",
    "haven", "heron", "hill", "island", "lagoon", "lake", "lantern", "meadow", "mesa", "moon", "orchard",
    "otter", "peak", "pine", "plateau", "pond", "reef", "ridge", "river", "shore", "spring", "star", "stone",
    "summit", "thicket", "valley",
];

/// A name that is probably free.
pub(super) fn random() -> Answer<AppName> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|e| ApiFault::Internal(format!("no random bytes: {e}")))?;
    made_of(u32::from_le_bytes(bytes))
}

fn made_of(random: u32) -> Answer<AppName> {
    let pick = |words: &[&'static str; 48], from: u32| words[(from % 48) as usize];
    let (adjective, noun) = (pick(&ADJECTIVES, random), pick(&NOUNS, random / 48));
    let number = 1000 + random / (48 * 48) % 9000;
    format!("{adjective}-{noun}-{number}").parse().map_err(|e| ApiFault::Internal(format!("{e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_gives_a_name_that_is_allowed() {
        for random in 0..48 * 48 {
            made_of(random).unwrap();
        }
        made_of(u32::MAX).unwrap();
    }
}
