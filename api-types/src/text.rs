//! Which characters of a text from elsewhere may be written to a terminal: one rule for both sides.

/// Says whether a character may steer a terminal or hide what is written: control characters
/// (escape sequences start with one), marks that reorder text, and invisible ones.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
