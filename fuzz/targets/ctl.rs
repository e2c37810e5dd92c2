//! The control socket: any line is a question or a short reason why not.

use postern::daemon::ctl::Question;

pub fn run(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    let words = match Question::read(&line) {
        Ok(Question::Status { json: true }) => "status json".into(),
        Ok(Question::Status { json: false }) => "status".into(),
        Ok(Question::List { json: true }) => "list json".into(),
        Ok(Question::List { json: false }) => "list".into(),
        Ok(Question::DeleteAll) => "delete all".into(),
        Ok(Question::DeleteOf(host)) => format!("delete host {host}"),
        Ok(Question::Delete(id)) => format!("delete {id}"),
        Err(why) => {
            assert!(!why.contains('\n') && why.len() <= line.len() + 20);
            return;
        }
    };
    assert_eq!(Question::read(&words), Question::read(&line));
}
