//! Unique identifiers that depend on nothing but the phantom.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A DICOM UID "2.25.n" (DICOM PS3.5 B.2): n is a UUID of version 8 (RFC 9562), drawn from the
/// seed, the patient and what it names.
pub fn uid(seed: u64, patient_id: &str, names: &str) -> String {
    // FNV-1a, twice, to spread the words over the generator's 256-bit seed.
    let hash = |basis: u64| {
        [patient_id, "\n", names]
            .iter()
            .flat_map(|s| s.bytes())
            .fold(basis, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3))
    };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash(0xCBF2_9CE4_8422_2325).to_le_bytes());
    key[16..24].copy_from_slice(&hash(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let random = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    let version = random & !(0xF << 76) | 8 << 76;
    let variant = version & !(0b11 << 62) | 0b10 << 62;
    format!("2.25.{variant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_valid_and_differ_by_every_part() {
        let all = [uid(1, "a", "x"), uid(2, "a", "x"), uid(1, "b", "x"), uid(1, "a", "y")];
        for (i, a) in all.iter().enumerate() {
            assert!(a.len() <= 64 && a.bytes().all(|b| b == b'.' || b.is_ascii_digit()));
            assert!(all[i + 1..].iter().all(|b| a != b));
            let n: u128 = a["2.25.".len()..].parse().unwrap();
            assert_eq!(n >> 76 & 0xF, 8);
            assert_eq!(n >> 62 & 0b11, 0b10);
        }
        assert_eq!(all[0], uid(1, "a", "x"));
    }
}
