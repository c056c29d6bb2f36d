#[test]
fn a_trigger_is_written_as_sql() {
    use larder::prefix;
    use larder_outbox::Trigger;

    let campaigns = Trigger::on("campaigns")
        .kind("campaign") // campaign.created, .updated, .deleted, .truncated
        .tenant_column("tenant_id") // or .shared()
        .key_column("id")
        .invalidates([prefix!("campaigns")]) // by every change
        .each_key(["campaign", "{key}"]); // for each row that changed
    println!("{}", campaigns.postgres().unwrap());
}
