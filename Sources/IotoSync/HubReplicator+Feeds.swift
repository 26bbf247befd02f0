import IotoBase

/// Live pages: what is new goes to the devices that have caught up.
extension HubReplicator {
    /// Bodies in one page: leaves room for keys and versions under the broker's packet limit.
    static let pageBytesMax = 100 * 1024
    static let pageItemsMax = 500

    /// A feed has new entries.
    func moved(_ stream: Text) {
        let prefix: Text = "device/"
        if stream.hasPrefix(prefix) {
            let device = Text(stream.bytes.dropFirst(prefix.count))
            // A device that is away reads them when it asks.
            guard let session = sessions[device] else { return }
            if session.agent != nil {
                moved(stream, session)
                return
            }
            guard var feed = session.feed else {
                session.hasMoved = true
                if session.isUnread { publish(to: session, "BATCH", HubReplicator.plea) }
                session.isUnread = false
                return
            }
            read(stream, device, &feed)
            session.feed = feed
        } else {
            for device in agents.sorted() { if let session = sessions[device] { moved(stream, session) } }
            var feed = broadcasts[stream] ?? LiveFeed(sent: 0)
            read(stream, nil, &feed)
            broadcasts[stream] = feed
        }
    }

    private func read(_ stream: Text, _ device: Text?, _ feed: inout LiveFeed) {
        if feed.isReading {
            feed.hasMoved = true
            return
        }
        feed.isReading = true
        feed.hasMoved = false
        request(
            .readFeed(
                stream: stream, after: feed.sent, bytesMax: HubReplicator.pageBytesMax,
                itemsMax: HubReplicator.pageItemsMax),
            .push(stream: stream, device: device))
    }

    func pushed(_ stream: Text, _ device: Text?, _ answer: HubAnswer) {
        let session = device.flatMap { sessions[$0] }
        guard var feed = device == nil ? broadcasts[stream] : session?.feed else { return }
        feed.isReading = false
        var goesOn = feed.hasMoved
        switch answer {
        case .page(var page):
            if page.cursor > feed.sent {
                let payload = fit(&page, session, topic(of: stream, device)) { message($0, for: session?.record) }
                feed.sent = page.cursor
                // What is too large for all to hear, each has in the answer to its question.
                publish(payload ?? HubReplicator.plea, stream, device)
                goesOn = goesOn || page.hasMore
            }
        case .failed(let error):
            // The feed may not move again for long: whoever follows it is asked to come, and comes until there is an answer.
            log(.error, "\(stream): \(error.message)")
            publish(HubReplicator.plea, stream, device)
            if let session {
                session.feed = nil
                return
            }
            goesOn = false
        default:
            log(.error, "\(stream): the store's answer does not match the request")
            goesOn = false
        }
        if goesOn { read(stream, device, &feed) }
        if let session { session.feed = feed } else { broadcasts[stream] = feed }
    }

    /// Publishes to whoever follows the stream.
    private func publish(_ payload: [UInt8], _ stream: Text, _ device: Text?) {
        if let device, let session = sessions[device] {
            publish(to: session, "BATCH", payload)
            return
        }
        guard device == nil, !agents.isEmpty else {
            publish(topic(of: stream, device), payload)
            return
        }
        // Agents of version 1 hear what is said to all, and need not understand it: each of the others gets its own.
        for id in sessions.keys.sorted() {
            guard let record = sessions[id]?.record, !record.isVersion1,
                stream == Stream.all || stream == Stream.account(record.account)
            else { continue }
            publish(Topics.down(device: id, "BATCH"), payload)
        }
    }

    private func topic(of stream: Text, _ device: Text?) -> Text {
        if let device { return Topics.down(device: device, "BATCH") }
        let prefix: Text = "account/"
        let account = stream.hasPrefix(prefix) ? Text(stream.bytes.dropFirst(prefix.count)) : Stream.all
        return Topics.down(account: account, "BATCH")
    }
}
