//! JSON Pointers (RFC 6901): how an error names a place in a request.

/// Returns the pointer to a member of the object at `parent`; the whole document is `""`.
pub fn member(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Returns the pointer to an item of the array at `parent`, counted from 0.
pub fn item(parent: &str, number: usize) -> String {
    format!("{parent}/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_and_its_parent_is_not() {
        assert_eq!(member("", ""), "/");
        assert_eq!(member("/labels", "team"), "/labels/team");
        // RFC 6901, section 5: `~1` is a slash, and a tilde that was there stays one.
        assert_eq!(member("/a~1b", "c/d~1"), "/a~1b/c~1d~01");
    }
}
