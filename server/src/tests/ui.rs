//! The page: how its files are served, and what is not in them.

use std::collections::BTreeSet;

use super::support::{Reply, Suite};
use crate::routes::ui::{ASSETS, Asset};

async fn get(suite: &Suite, method: &str, path: &str, known: Option<&str>) -> Reply {
    let mut call = suite.request(method, path);
    if let Some(tag) = known {
        call = call.header("If-None-Match", tag);
    }
    call.send().await
}

fn asset(name: &str) -> &'static Asset {
    let path = format!("/ui/{name}");
    ASSETS.iter().find(|asset| asset.path == path).unwrap()
}

/// Returns what stands between these in a text, each time.
fn between<'a>(text: &'a str, before: &str, after: char) -> impl Iterator<Item = &'a str> {
    let pieces = text.split(before).skip(1).collect::<Vec<_>>();
    pieces.into_iter().map(move |piece| {
        let end = piece.find(after).unwrap_or(piece.len());
        &piece[..end]
    })
}

#[tokio::test(start_paused = true)]
async fn every_file_is_served_with_its_type_a_strict_policy_and_a_validator() {
    let suite = Suite::start().await;
    for asset in ASSETS {
        let path = asset.path;
        let whole = get(&suite, "GET", path, None).await;
        assert_eq!(whole.status, 200, "{path}");
        assert_eq!(whole.header("content-type"), asset.media, "{path}");
        assert_eq!(whole.body, asset.text, "{path}");
        let tag = whole.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() == 24, "{path}: {tag}");

        let head = get(&suite, "HEAD", path, None).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), asset.text.len().to_string());

        let same = get(&suite, "GET", path, Some(&format!("\"x\", W/{tag}"))).await;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{path}");
        let other = get(&suite, "GET", path, Some("\"x\"")).await;
        assert_eq!(other.status, 200, "{path}");

        // A 304 renews the headers that a browser has kept, so it has all of them too.
        for reply in [&whole, &head, &same] {
            assert_eq!(reply.header("etag"), tag, "{path}");
            assert_eq!(reply.header("cache-control"), "no-cache", "{path}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
            let policy = reply.header("content-security-policy");
            for part in [
                "default-src 'none';",
                "script-src 'self';",
                "style-src 'self';",
                "connect-src 'self';",
                "form-action 'none';",
                "base-uri 'none';",
                "frame-ancestors 'none';",
                "require-trusted-types-for 'script';",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert!(!policy.contains("http"), "{path}: {policy}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_is_at_one_address_and_nothing_else_is_below_it() {
    let suite = Suite::start().await;
    let moved = get(&suite, "GET", "/ui", None).await;
    assert_eq!(moved.status, 308);
    assert_eq!(moved.header("location"), "ui/");
    for path in ["/ui/nothing.mjs", "/ui/tests/pure.test.mjs", "/ui/../v1"] {
        get(&suite, "GET", path, None)
            .await
            .is_problem(404, "not-found");
    }
    get(&suite, "POST", "/ui/", None)
        .await
        .is_problem(405, "method-not-allowed");
}

#[test]
fn no_file_names_another_host_or_makes_markup_or_keeps_the_token() {
    for Asset { path, text, .. } in ASSETS {
        // The name of a vocabulary, which nobody asks for.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for bad in [
            "http:",
            "https:",
            "url(",
            "@import",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "localStorage",
            "indexedDB",
            ".cookie",
            "import(",
        ] {
            assert!(!text.contains(bad), "{path} has {bad}");
        }
    }
    let page = asset("").text;
    for bad in [" style=", " onclick=", "<style", "<script>", "javascript:"] {
        assert!(!page.contains(bad), "{bad}");
    }
}

/// A module that nobody loads is left over, and one that is not served breaks the page.
#[test]
fn what_the_page_loads_is_what_is_served() {
    let mut found = BTreeSet::from([String::new()]);
    let mut next = vec![asset("")];
    while let Some(asset) = next.pop() {
        let names = if asset.path == "/ui/" {
            between(asset.text, "src=\"", '"')
                .chain(between(asset.text, "<link rel=\"stylesheet\" href=\"", '"'))
                .chain(between(asset.text, "type=\"image/svg+xml\" href=\"", '"'))
                .collect::<Vec<_>>()
        } else {
            between(asset.text, " from \"./", '"').collect()
        };
        for name in names {
            if found.insert(name.to_owned()) {
                next.push(self::asset(name));
            }
        }
    }
    let served: BTreeSet<_> = ASSETS
        .iter()
        .map(|asset| asset.path.trim_start_matches("/ui/").to_owned())
        .collect();
    assert_eq!(found, served);
}
