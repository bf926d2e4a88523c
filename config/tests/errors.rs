//! Bad files, each with the exact text that its user sees.

use std::path::Path;

use twinport_config::Settings;

/// Every `tests/bad/*.toml` is refused, with the text of `tests/snapshots/<name>.snap`.
#[test]
fn bad_files_are_refused_with_all_their_errors() {
    let folder = Path::new("tests/bad");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 15);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let errors = Settings::parse(&text, &format!("{name}.toml")).unwrap_err();
        let shown = errors.to_string();
        assert!(
            !shown.contains("hush"),
            "{name}: a secret is shown: {shown}"
        );
        let settings = {
            let mut settings = insta::Settings::new();
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings
        };
        settings.bind(|| insta::assert_snapshot!(name, shown));
    }
}
