//! Health, metrics and the OpenAPI document.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use confab_api::{ApiConfig, ApiState, Probes, Readiness, admin_router, router};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::{InMemory, Server};

async fn get(router: &axum::Router, uri: &str, token: &str) -> (u16, String) {
    let request = Request::get(uri)
        .header("x-auth-token", token)
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn health_follows_the_callback_and_metrics_ask_for_the_master_on_the_public_address() {
    let server = Server::start().await;
    let readiness = Arc::new(Mutex::new(Readiness::Ready));
    let told = readiness.clone();
    let probes = Probes {
        readiness: Arc::new(move || told.lock().unwrap().clone()),
        metrics: Arc::new(|| "calls 7\n# EOF\n".into()),
    };
    let config = ApiConfig {
        rate_limit: false,
        ..ApiConfig::default()
    };
    let state = ApiState::new(
        config,
        server.store.clone(),
        Arc::new(InMemory::default()),
        probes,
    );
    let (public, admin) = (router(state.clone()), admin_router(state));
    for router in [&public, &admin] {
        assert_eq!(get(router, "/health/live", "").await.0, 200);
        assert_eq!(get(router, "/health/ready", "").await.0, 200);
    }
    *readiness.lock().unwrap() = Readiness::NotReady("draining".into());
    let (status, text) = get(&public, "/health/ready", "").await;
    assert_eq!((status, text.contains("draining")), (503, true));
    assert_eq!(get(&public, "/health/live", "").await.0, 200);

    let metrics = (200, "calls 7\n# EOF\n".to_owned());
    assert_eq!(get(&admin, "/metrics", "").await, metrics);
    assert_eq!(get(&public, "/metrics", "").await.0, 401);
    assert_eq!(get(&public, "/metrics", "nonsense").await.0, 401);
    let login = async |key: &str| {
        let body = serde_json::json!({"data": {"api_key": key}}).to_string();
        let request = Request::put("/v2/api_auth").body(Body::from(body)).unwrap();
        let response = public.clone().oneshot(request).await.unwrap().into_body();
        let bytes = response.collect().await.unwrap().to_bytes();
        let envelope: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        envelope["auth_token"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        get(&public, "/metrics", &login(&server.api_key).await).await,
        metrics
    );
    let (child, _) = server.child(&server.account).await;
    let child_key = server.store.api_key(&child).await.unwrap().unwrap();
    assert_eq!(get(&public, "/metrics", &login(&child_key).await).await.0, 403);
    assert_eq!(
        get(&admin, "/v2/api_auth", "").await.0,
        404,
        "the API is not on the administrators' address"
    );
}

#[tokio::test]
async fn the_interface_describes_itself_without_a_token() {
    let server = Server::start().await;
    let reply = server.send("GET", "/v2/openapi.json", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json["openapi"]),
        (200, &serde_json::json!("3.1.0"))
    );
    let root = server.send("GET", "/openapi.json", &[], "").await;
    assert_eq!(root.json, reply.json);
    assert_eq!(root.header("content-type"), "application/json");
    for uri in ["/openapi.json", "/v2/openapi.json"] {
        let with = [("if-none-match", root.header("etag"))];
        assert_eq!(server.send("GET", uri, &with, "").await.status, 304, "{uri}");
    }
    let golden = include_str!("../../openapi.json");
    assert_eq!(
        reply.json,
        serde_json::from_str::<serde_json::Value>(golden).unwrap()
    );
    for (path, item) in reply.json["paths"].as_object().unwrap() {
        let path = path.replace("{account_id}", server.account.as_str());
        let path = path
            .replace("{conference_id}", &"0".repeat(32))
            .replace("{participant_id}", "1");
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
        {
            let answer = server.send(&method.to_uppercase(), &path, &[], "").await;
            assert_ne!(answer.json["message"], "not_found", "{method} {path}");
            assert_ne!(answer.status, 405, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_page_about_the_interface_needs_nothing_from_elsewhere() {
    let server = Server::start().await;
    for uri in ["/docs", "/docs/"] {
        let reply = server.send("GET", uri, &[], "").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert!(
            reply
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(reply.text.contains("fetch('/openapi.json')"));
        for outside in ["http://", "https://", " src=", "@import", "<link", "url("] {
            assert!(!reply.text.contains(outside), "{outside}");
        }
        // What comes from the document or an answer is shown as text and never becomes markup.
        for risky in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!reply.text.contains(risky), "{risky}");
        }
    }
}

#[tokio::test]
async fn routes_without_an_envelope_keep_the_rules_for_methods_and_browsers() {
    let server = Server::start().await;
    for uri in [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let reply = server.send(method, uri, &[], "").await;
            reply.is_error(405, "invalid_method");
            assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS", "{method} {uri}");
        }
        let reply = server.send("OPTIONS", uri, &[("origin", "http://x")], "").await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
        assert_eq!(reply.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
        let reply = server.send("GET", uri, &[("origin", "http://x")], "").await;
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{uri}");
    }
    assert_eq!(
        server
            .send("GET", "/docs", &[], "")
            .await
            .header("access-control-allow-origin"),
        ""
    );
}
