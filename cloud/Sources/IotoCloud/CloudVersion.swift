/// The version of the cloud's programs, that of the whole release.
public enum CloudVersion {
    public static let text = "0.1.0"
}
