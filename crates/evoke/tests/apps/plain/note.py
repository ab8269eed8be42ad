def handler(event, context):
    print("noted", event["subject"])
