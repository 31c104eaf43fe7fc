//! Elements, items and codes in few words.

use dicom_core::value::{DataSetSequence, PrimitiveValue, Value};
use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// Sets an element.
pub(super) fn set(item: &mut InMemDicomObject, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    item.put(InMemElement::new(tag, vr, value.into()));
}

/// Sets a sequence.
pub(super) fn set_items(item: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    item.put(InMemElement::new(tag, VR::SQ, Value::from(DataSetSequence::from(items))));
}

/// An item of these elements.
pub(super) fn item<const N: usize>(elements: [(Tag, VR, PrimitiveValue); N]) -> InMemDicomObject {
    let elements = elements.map(|(tag, vr, value)| InMemElement::new(tag, vr, value));
    InMemDicomObject::from_element_iter(elements)
}

/// A coded concept (PS3.3, 8.8).
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    pub value: &'static str,
    pub scheme: &'static str,
    pub meaning: &'static str,
}

impl Code {
    pub fn item(self) -> InMemDicomObject {
        use dicom_dictionary_std::tags::{CODE_MEANING, CODE_VALUE, CODING_SCHEME_DESIGNATOR};
        item([
            (CODE_VALUE, VR::SH, self.value.into()),
            (CODING_SCHEME_DESIGNATOR, VR::SH, self.scheme.into()),
            (CODE_MEANING, VR::LO, self.meaning.into()),
        ])
    }
}

/// Numbers as decimal strings, each of at most 16 characters (PS3.5, 6.2).
pub(super) fn decimals(values: &[f64]) -> PrimitiveValue {
    PrimitiveValue::Strs(values.iter().map(|value| decimal(*value)).collect())
}

fn decimal(value: f64) -> String {
    let with = |digits: usize| {
        let text = format!("{value:.digits$}");
        let text =
            if digits == 0 { &text } else { text.trim_end_matches('0').trim_end_matches('.') };
        if text == "-0" { "0".to_string() } else { text.to_string() }
    };
    let fits = (0..=14).rev().map(with).find(|text| text.len() <= 16);
    fits.unwrap_or_else(|| format!("{value:.8e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_as_much_as_16_characters_hold() {
        assert_eq!(decimal(0.703_125), "0.703125");
        assert_eq!(decimal(-0.0), "0");
        assert_eq!(decimal(100.0), "100");
        assert_eq!(decimal(0.980_066_577_841_241_6), "0.98006657784124");
        assert_eq!(decimal(-0.980_066_577_841_241_6), "-0.9800665778412");
        assert_eq!(decimal(-1_234.567_890_123_456), "-1234.5678901235");
        assert_eq!(decimal(-1.5e300), "-1.50000000e300");
    }
}
